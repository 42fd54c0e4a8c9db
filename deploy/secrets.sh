#!/bin/sh
# Makes the secrets that compose.yaml reads: one file each, never overwritten. Keys of our own are
# random; those of providers are empty until you write them.
# usage: secrets.sh [FOLDER]      default: deploy/secrets
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
# the folder keeps others on this machine out; in a container the reader is another user
chmod 700 "$folder"
for name in router_key admin_key model_key postgres_password grafana_password; do
  [ -e "$folder/$name" ] || od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
  chmod 444 "$folder/$name"
done
# empty: the gateway starts without a provider's key where no provider asks for it
for name in openai anthropic gemini xai deepseek mistral moonshot zai openrouter; do
  [ -e "$folder/${name}_api_key" ] || : >"$folder/${name}_api_key"
  chmod 644 "$folder/${name}_api_key"
done
echo "clients send the key in $folder/router_key, admins the one in $folder/admin_key"
echo "providers' keys go into $folder/openai_api_key, $folder/anthropic_api_key and so on"
