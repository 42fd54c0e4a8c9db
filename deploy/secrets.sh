#!/bin/sh
# Makes the secrets that compose.yaml reads: one file each, random, never overwritten.
# usage: secrets.sh [FOLDER]      default: deploy/secrets
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
for name in router_key admin_key model_key postgres_password grafana_password; do
  [ -e "$folder/$name" ] || od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
done
# empty: the gateway starts without OpenAI's key where no provider asks for it
[ -e "$folder/openai_api_key" ] || : >"$folder/openai_api_key"
# the folder keeps others on this machine out; in a container the reader is another user
chmod 444 "$folder"/*
echo "clients send the key in $folder/router_key, admins the one in $folder/admin_key"
