#!/usr/bin/env bash
# Puts what production runs into one folder: the bundle, and the packages that it leaves outside (see rolldown.config.ts).
# Usage: scripts/assemble.sh <folder>, after "npm ci" and "npm run bundle".
set -euo pipefail
target=$1
cd "$(dirname "$0")/.."

mkdir -p "$target/node_modules"
# package.json says that the files of the bundle are ES modules
cp -R dist package.json LICENSE "$target/"
# whole scopes: the native code is in a package of its own beside each of these
cp -R node_modules/@node-rs node_modules/@electric-sql "$target/node_modules/"
