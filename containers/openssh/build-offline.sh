#!/usr/bin/env bash
# Makes the root file system of a Debian OpenSSH server as a tar, from the distribution's packages alone:
# no image registry, no root, nothing installed on this machine.
#
#   build-offline.sh [SUITE [OUTPUT [PACKAGE …]]]
#
#   SUITE   bullseye | bookworm | trixie | trixie-backports | forky | …
#           default: the suite of this Debian machine, else bookworm
#   OUTPUT  file to write, `-` (the default) for standard output
#   PACKAGE what a scenario wants besides; comes with what it needs
#
# The layout is the one the Dockerfile next to it gives; README.md in the folder above lists it. Progress
# goes to standard error; its last line is `release: OpenSSH_<version>`, which `sshchurn` reads.
set -euo pipefail
umask 022
export LC_ALL=C

say() { printf '%s\n' "$*" >&2; }
die() { say "build-offline: $*"; exit 1; }

for tool in apt-get apt-config dpkg dpkg-deb tar awk; do
    command -v "$tool" >/dev/null || die "'$tool' is missing; this script needs a Debian machine (or one with its apt), elsewhere build the Dockerfile"
done

host_suite=$(. /etc/os-release; if [ "${ID:-}" = debian ]; then printf '%s' "${VERSION_CODENAME:-}"; fi)
suite=${1:-${host_suite:-bookworm}}
output=${2:--}
wanted=("${@:3}")
case $suite in
    *[!a-z-]* | '' | -*) die "'$suite' is not the name of a Debian suite" ;;
esac
for name in "${wanted[@]}"; do
    # apt reads more than names: options, patterns, versions, `name-` for a removal.
    case $name in
        *[!a-z0-9+.-]* | [!a-z0-9]* | ? | '') die "'$name' is not the name of a Debian package" ;;
    esac
done
base=${suite%-backports}

work=$(mktemp -d "${TMPDIR:-/tmp}/sshchurn-image.XXXXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- where this machine gets Debian packages from ------------------------------------------------------
# Asked of apt itself, so that both forms of source files and every mirror work.
targets=$(apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)' 'Created-By: Packages' | sort -u)
pick() { # $1: extended regular expression for the release as written in the sources
    printf '%s\n' "$targets" | awk -F'|' -v want="$1" '$3 == "main" && $2 ~ want { print $1 "|" $4; exit }'
}
names='(bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)'
main=$(pick "^$names\$")
security=$(pick "^$names-security\$")
[ -n "$main" ] || die "no Debian archive in this machine's apt sources; add one, or build the Dockerfile"

# Older apt leaves `$(SIGNED_BY)` as it is, and it may hold a fingerprint: anything but a file is not used,
# and without any keyring apt falls back to the ones this machine trusts.
source_line() { # URI and keyring as picked, suite
    local signed=${1#*|}
    [ -f "$signed" ] || signed=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$signed" ] || signed=
    printf 'deb %s%s %s main\n' "${signed:+[signed-by=$signed] }" "${1%%|*}" "$2"
}

apt=$work/apt
mkdir -p "$apt"/{lists/partial,cache/archives/partial,parts,preferences,trusted}
: >"$apt/status"
{
    source_line "$main" "$base"
    [ "$suite" = "$base" ] || source_line "$main" "$suite"
    # Testing gets its security fixes through the archive itself.
    case $base in
        forky | duke | sid | testing | unstable) ;;
        *) [ -z "$security" ] || source_line "$security" "$base-security" ;;
    esac
} >"$apt/sources.list"

# Of the machine's own apt settings only how to reach the archive is taken over: its hooks and its
# preferences are made for this machine and must not run here.
{
    apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv|Connect)' || true
    cat <<CONF
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::State::extended_states "$apt/extended_states";
Dir::Cache "$apt/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/parts";
Dir::Etc::parts "$apt/parts";
Dir::Etc::main "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt/preferences";
Dir::Log "$apt";
Acquire::Languages "none";
Acquire::PDiffs "false";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Debug::NoLocking "true";
CONF
} >"$apt/apt.conf"
export APT_CONFIG=$apt/apt.conf

run() { # runs quietly, shows the output only when it fails; the last line says what to do
    if ! "$@" >"$work/out" 2>&1; then
        cat "$work/out" >&2
        local why="'$1 $2' failed for suite $suite"
        if grep -qE 'NO_PUBKEY|EXPKEYSIG|not available: No such file' "$work/out"; then
            why="$why: this machine has no valid key of that archive; update the package debian-archive-keyring"
        elif grep -qE 'does not have a Release file|404 ' "$work/out"; then
            why="$why: the archive of this machine's apt sources does not carry it; a suite past its support is at archive.debian.org"
        elif grep -qE 'Unable to locate package|has no installation candidate' "$work/out"; then
            why="$why: $(sed -nE 's/^E: (Unable to locate package .*|Package .* has no installation candidate)$/\1/p' "$work/out" | paste -sd ',')"
        fi
        die "$why"
    fi
}

say "reading the package lists of $suite"
run apt-get update -q

# What the jobs and the harness call inside: a shell, setsid and nohup, ls, tail, ps, kill, awk.
packages="base-files libc-bin bash dash coreutils util-linux procps grep sed mawk findutils"
target_release=
[ "$suite" = "$base" ] || target_release="--target-release=$suite"
say "downloading openssh-server${wanted[*]:+ ${wanted[*]}} and what is needed for that"
# shellcheck disable=SC2086 # lists of words
run apt-get install -q --download-only $target_release openssh-server $packages "${wanted[@]}"

# --- the tree ------------------------------------------------------------------------------------------
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib}
# Merged /usr: a package may ship a file under either name and expect both. The links come
# before the packages, and tar is told to keep them.
for dir in bin sbin lib; do
    ln -s "usr/$dir" "$root/$dir"
done
case $(dpkg --print-architecture) in
    amd64) mkdir -p "$root/usr/lib64"; ln -s usr/lib64 "$root/lib64" ;;
esac

say "unpacking"
release=
versions=
for deb in "$apt"/cache/archives/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    # The server needs these for maintainer scripts only, and none runs here. What a scenario wants may need them for itself.
    [ ${#wanted[@]} -gt 0 ] || case $name in
        debconf | perl | perl-base | perl-modules-* | libperl5.* | dpkg | adduser | ucf | init-system-helpers | sysvinit-utils | runit-helper | tar) continue ;;
    esac
    version=$(dpkg-deb --field "$deb" Version)
    [ "$name" != openssh-server ] || release=$version
    for package in "${wanted[@]}"; do
        [ "$name" != "$package" ] || versions+="$name $version"$'\n'
    done
    # Documentation, translations and units are half the size, and nobody reads them here.
    dpkg-deb --fsys-tarfile "$deb" | tar --extract --directory "$root" --keep-directory-symlink --no-same-owner \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' \
        --exclude='./usr/share/locale/*' --exclude='./usr/share/i18n/*' --exclude='./usr/share/zoneinfo/*' \
        --exclude='./usr/share/lintian/*' --exclude='./usr/share/bash-completion/*' \
        --exclude='./lib/systemd/*' --exclude='./usr/lib/systemd/*'
done
[ -n "$release" ] || die "apt did not download openssh-server"
for package in "${wanted[@]}"; do
    # A name that only others provide, and what apt takes for a pattern.
    [[ $'\n'$versions == *$'\n'"$package "* ]] || die "$suite has no package of the name '$package'"
done
release=${release#*:}
release=OpenSSH_${release%%-*}

[ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
[ -e "$root/usr/bin/awk" ] || ln -s mawk "$root/usr/bin/awk"

mkdir -p "$root"/{dev,proc,sys,tmp,root,etc/sshchurn,run/sshd,var/log,var/tmp,home/runner}
[ -e "$root/var/run" ] || ln -s /run "$root/var/run"
chmod 1777 "$root/tmp" "$root/var/tmp"
chmod 0755 "$root/run/sshd" "$root/home/runner"
chmod 0700 "$root/root"

# With UsePAM off sshd takes an account as locked unless the shadow field is `*` (or a hash).
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
runner:x:1000:1000::/home/runner:/bin/sh
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
tty:x:5:
utmp:x:43:
nogroup:x:65534:
runner:x:1000:
GROUP
cat >"$root/etc/shadow" <<'SHADOW'
root:*:19000:0:99999:7:::
nobody:*:19000:0:99999:7:::
sshd:*:19000:0:99999:7:::
runner:*:19000:0:99999:7:::
SHADOW
chmod 0640 "$root/etc/shadow"
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
printf '%s\n' "$release" >"$root/etc/sshchurn/release"
[ ${#wanted[@]} -eq 0 ] || printf '%s' "$versions" >"$root/etc/sshchurn/packages"

# --- the tar -------------------------------------------------------------------------------------------
# Two passes over one archive, because only the job user's home is not root's.
say "packing"
tar --create --file "$work/rootfs.tar" --directory "$root" --numeric-owner --owner=0 --group=0 --exclude=./home/runner .
tar --append --file "$work/rootfs.tar" --directory "$root" --numeric-owner --owner=1000 --group=1000 ./home/runner
if [ "$output" = - ]; then
    cat "$work/rootfs.tar"
else
    mv "$work/rootfs.tar" "$output"
fi
say "release: $release"
