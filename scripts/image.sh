#!/usr/bin/env bash
# Builds the image, and runs it as an orchestrator would: not as root, on a root that can't be written to, with nothing
# but /data. Fails where it is not what the Dockerfile promises.
#
# Usage: scripts/image.sh, as root, with buildah and Node >= 22.19.
# BASE_IMAGE names the base; without it one is made of this machine's own Debian and Node, so that no registry of images
# is asked. npm ci asks the registry of npm, as this machine is told to. PORT (18080) must be free.
set -euo pipefail
cd "$(dirname "$0")/.."

# megabytes that the image may add to its base
readonly most=200
readonly port=${PORT:-18080} base="localhost/tasks-api-base-$$" image="localhost/tasks-api-$$"
scratch=$(mktemp -d) server=""
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
store() { buildah --root "$scratch/storage" --runroot "$scratch/run" "$@"; }
# where this folder is on a file system that can't be laid under another, files are copied
store info >/dev/null 2>&1 || export STORAGE_DRIVER=vfs

finish() {
  local status=$?
  trap - EXIT
  set +e
  if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null; fi
  if ((status != 0)); then tail -n 40 "$(ls -t "$scratch"/*.log | head -n 1)" >&2; fi
  store rm --all >/dev/null 2>&1
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# The packages of a shell and of what Node is linked with, as they are installed here, with Node and npm.
make_base() {
  local container root packages
  packages=(base-files base-passwd bash ca-certificates coreutils dash findutils grep sed libacl1 libattr1 libc6 libc-bin
    libcrypt1 libgcc-s1 libgmp10 libpcre2-8-0 libselinux1 libstdc++6 libtinfo6)
  container=$(store from scratch)
  root=$(store mount "$container")
  mkdir -p "$root"/{etc,proc,dev,sys,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64,usr/local/bin,usr/local/lib/node_modules,usr/local/etc}
  chmod 1777 "$root/tmp"
  ln -s usr/bin "$root/bin"
  ln -s usr/sbin "$root/sbin"
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  # documents are no part of it; the files are where /usr was merged to
  { dpkg -L "${packages[@]}"; find /etc/ssl/certs; } | grep -Ev '^/(usr/share/(doc|man|locale|info|lintian)|\.)(/|$)' |
    sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#' | sort -u | while read -r file; do
      if [[ -f $file || -L $file ]] && [[ ! $file =~ ^/(bin|sbin|lib|lib64)$ ]]; then echo ".$file"; fi
    done | tar -C / -cf - --no-recursion -T - | tar -C "$root" -xf - --keep-directory-symlink
  ln -sf bash "$root/usr/bin/sh"
  [[ -e $root/usr/bin/env && -e $root/usr/lib64/ld-linux-x86-64.so.2 ]] || fail "no base can be made of this machine"
  cp -L "$(node -p process.execPath)" "$root/usr/local/bin/node"
  cp -R "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  echo "root:x:0:0:root:/root:/bin/bash" >"$root/etc/passwd"
  cp -L /etc/resolv.conf "$root/etc/" 2>/dev/null || true
  {
    echo "registry=$(npm config get registry 2>/dev/null)"
    echo "cafile=/etc/ssl/certs/ca-certificates.crt"
  } >"$root/usr/local/etc/npmrc"
  store config --env PATH=/usr/local/bin:/usr/bin --env HOME=/root "$container"
  store commit --quiet "$container" "$base" >/dev/null
  store rm "$container" >/dev/null
}

if [[ -z ${BASE_IMAGE:-} ]]; then
  echo "a base of this machine"
  make_base
  BASE_IMAGE=$base
fi

echo "the image"
# Docker's own form: the other one has no HEALTHCHECK
store build --format docker --network host --build-arg BASE_IMAGE="$BASE_IMAGE" -t "$image" . >"$scratch/build.log" 2>&1

of_image() {
  store inspect --type image "$image" | node -e '
    const { Docker } = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
    console.log(JSON.stringify(process.argv[1].split(".").reduce((value, member) => value?.[member], Docker.config) ?? null))
  ' "$1"
}
user=$(of_image User)
[[ $user =~ ^\"([1-9][0-9]*):([1-9][0-9]*)\"$ ]] || fail "the image's user is $user"
uid=${BASH_REMATCH[1]} gid=${BASH_REMATCH[2]}
[[ $(of_image StopSignal) == '"SIGTERM"' ]] || fail "the image's stop signal is $(of_image StopSignal)"

root_of() { store mount "$(store from "$1")"; }
base_root=$(root_of "$BASE_IMAGE")
root=$(root_of "$image")
added=$(($(du -sm "$root" | cut -f 1) - $(du -sm "$base_root" | cut -f 1)))
echo "it adds $added MB to its base"
((added < most)) || fail "that is more than $most MB"

data="$scratch/data"
cp -a "$root/data" "$data"
chmod 711 "$scratch"

mapfile -t environment < <(of_image Env | node -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).join("\n")')
mapfile -t command < <(of_image Cmd | node -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).join("\n")')
directory=$(of_image WorkingDir | tr -d '"')
mounts='
  set -e
  root=$1 data=$2 owner=$3 directory=$4
  shift 4
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o nosuid,size=64k dev "$root/dev"
  for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mount -o remount,ro "$root/dev"
  mount --bind "$data" "$root/data"
  mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=1m tmp "$root/tmp"
  exec chroot --userspec="$owner" --groups= "$root" /usr/bin/env -C "$directory" -i "$@"
'
# run [NAME=value...] command...: as process 1 of namespaces of its own, with the image's user and environment. The
# network is that of this machine, so that it can be asked.
run() {
  exec unshare --mount --pid --fork --kill-child bash -c "$mounts" mounts "$root" "$data" "$uid:$gid" "$directory" \
    "${environment[@]}" PORT="$port" "$@"
}

echo "production without a secret"
ended=0
(run "${command[@]}") >"$scratch/refused.out" 2>"$scratch/refused.log" || ended=$?
((ended != 0)) || fail "it started without JWT_SECRET"
refused=$(<"$scratch/refused.log")
[[ $refused == JWT_SECRET:* && $refused != *$'\n'* ]] ||
  fail "it ended with $ended, and not with one line about JWT_SECRET"
echo "$refused"

secret="JWT_SECRET=$(node -p 'crypto.randomBytes(32).toString("hex")')"

echo "migrate"
(run "$secret" node dist/migrate.js) >"$scratch/migrate.log" 2>&1 || fail "node dist/migrate.js"
grep -q migrated "$scratch/migrate.log" || fail "node dist/migrate.js applied no migration"

status_of() {
  node -e 'fetch(process.argv[1], { signal: AbortSignal.timeout(2_000) }).then((r) => console.log(r.status), () => console.log(0))' \
    "http://127.0.0.1:$port$1"
}

echo "serve"
touch "$scratch/begin"
(run "$secret" TRUSTED_PROXIES=127.0.0.1 "${command[@]}") >"$scratch/server.log" 2>&1 &
server=$!
status=0
for _ in $(seq 300); do
  status=$(status_of /health/ready)
  [[ $status == 200 ]] && break
  kill -0 "$server" 2>/dev/null || fail "it ended"
  sleep 0.1
done
[[ $status == 200 ]] || fail "/health/ready: $status"
pid=$(tr -d ' ' <"/proc/$server/task/$server/children")
running=$(awk '/^Uid:/ { print $2, $3, $4 }' "/proc/$pid/status")
[[ $running == "$uid $uid $uid" ]] || fail "it runs as $running"
[[ $(status_of /api/v1/auth/me) == 403 ]] || fail "production answers plain HTTP"

echo "export"
node --input-type=module -e '
  const origin = process.argv[1]
  // as a proxy that ends TLS
  const ask = (path, { headers, ...options } = {}) =>
    fetch(origin + path, { ...options, headers: { "x-forwarded-proto": "https", ...headers } })
  const registered = await ask("/api/v1/auth/register", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "olive@example.com", password: "correct horse battery staple" })
  })
  if (registered.status !== 201) throw new Error(`${registered.status} ${await registered.text()}`)
  const { access_token, user } = await registered.json()
  const exported = await ask("/api/v1/auth/export", { headers: { authorization: `Bearer ${access_token}` } })
  if (exported.status !== 200) throw new Error(`${exported.status} ${await exported.text()}`)
  const document = await exported.json()
  if (document.user.id !== user.id) throw new Error(JSON.stringify(document))
' "http://127.0.0.1:$port" 2>"$scratch/export.log" || fail "GET /api/v1/auth/export"

mapfile -t healthcheck < <(of_image Healthcheck.Test | node -e '
  const [kind, ...command] = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
  if (kind !== "CMD") throw new Error(`HEALTHCHECK is of kind ${kind}`)
  for (const part of command) console.log(part)')
inside() { nsenter --target "$pid" --mount --pid --root --wd --setgid "$gid" --setuid "$uid" env -i "${environment[@]}" "$@"; }
inside PORT="$port" "${healthcheck[@]}" || fail "HEALTHCHECK"
# the same command has to see that nobody listens
if inside PORT=1 "${healthcheck[@]}"; then fail "HEALTHCHECK sees nothing"; fi
[[ -e $data/postgres ]] || fail "the embedded database is not in /data"
# the root can't be written to; this also sees a mount that could be. An export has no name, and leaves nothing.
written=$(find "/proc/$pid/root" -xdev -newer "$scratch/begin" -type f 2>/dev/null | head -n 5)
[[ -z $written ]] || fail "written outside of /data: $written"
left=$(ls -A "/proc/$pid/root/tmp")
[[ -z $left ]] || fail "left in /tmp: $left"
others=$(awk '{ split($6, o, ","); if (o[1] == "rw" && $5 !~ /^\/(proc|dev|sys)(\/|$)/ && $5 != "/data" && $5 != "/tmp") print $5 }' \
  "/proc/$pid/mountinfo")
[[ -z $others ]] || fail "can be written to: $others"

kill -TERM "$pid"
ended=0
wait "$server" || ended=$?
server=""
((ended == 0)) || fail "SIGTERM ended it with $ended"
echo "ended by SIGTERM with 0"
