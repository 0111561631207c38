#!/bin/sh
# Steps of HOWTO-verify.txt that are longer than a line. Needs openssl, base64, od, sed, cut, tr, grep.
set -eu
LC_ALL=C
export LC_ALL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "FAILED: $1" >&2; exit 1; }
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
# payload FILE: what stands in a signed message after its type and lengths.
payload() {
  head=$(head -c 200 "$1" | sed -n '1s/^\(DSSEv1 [0-9]* [^ ]* [0-9]* \).*/\1/p' | wc -c)
  tail -c "+$((head))" "$1"
}

# proof FILE: the entry in FILE is in the tree whose checkpoint FILE holds, and that checkpoint was verified in step 3.
proof() {
  sed -n '/^$/,$p' "$1" | sed 1d > "$work/note"
  sed '/^$/,$d' "$work/note" > "$work/body"
  signed=
  for message in check/checkpoint-*.message; do
    if cmp -s "$work/body" "$message"; then signed=$message; fi
  done
  [ -n "$signed" ] || fail "$1: its checkpoint is none of those verified in step 3"
  index=$(sed -n 's/^index //p' "$1")
  last=$(($(sed -n 2p "$work/body") - 1))
  sed -n 's/^extra //p' "$1" | base64 -d > "$work/entry"
  { printf '\000'; cat "$work/entry"; } | openssl dgst -sha256 -binary > "$work/value"
  [ "$(head -c 12 "$work/entry" | tail -c 8 | od -An -v -tx1 | tr -d ' \n')" = "$(printf '%016x' "$index")" ] ||
    fail "$1: the entry says another place than the proof"
  sed -n '1,/^$/p' "$1" | grep -v -e '^c2sp' -e '^extra ' -e '^index ' -e '^$' > "$work/path" || :
  while read -r line; do
    [ "$last" -gt 0 ] || fail "$1: a hash too many"
    echo "$line" | base64 -d > "$work/sibling"
    if [ $((index % 2)) -eq 1 ] || [ "$index" -eq "$last" ]; then
      { printf '\001'; cat "$work/sibling" "$work/value"; } | openssl dgst -sha256 -binary > "$work/next"
      while [ $((index % 2)) -eq 0 ] && [ "$index" -ne 0 ]; do index=$((index / 2)) last=$((last / 2)); done
    else
      { printf '\001'; cat "$work/value" "$work/sibling"; } | openssl dgst -sha256 -binary > "$work/next"
    fi
    mv "$work/next" "$work/value"
    index=$((index / 2)) last=$((last / 2))
  done < "$work/path"
  [ "$last" -eq 0 ] || fail "$1: a hash too few"
  [ "$(base64 < "$work/value" | tr -d '\n')" = "$(sed -n 3p "$work/body")" ] || fail "$1: the entry is not in the log"
  echo "good: $1 is in $(sed -n 1p "$work/body"), signed by $signed"
}

# listed KEY FILES: the key's 32 bytes stand in one of the signed lists.
listed() {
  key=$1; shift
  raw=$(sed -e 1d -e '$d' "$key" | base64 -d | tail -c 32 | od -An -v -tx1 | tr -d ' \n')
  for file in "$@"; do
    case $(hex "$file") in *"$raw"*) echo "good: $key stands in $file"; return ;; esac
  done
  fail "$key is in no list here"
}

# inside FILE MESSAGES: what was signed is what FILE holds.
inside() {
  file=$(hex "$1"); shift
  for message in "$@"; do
    payload "$message" > "$work/payload"
    case $file in *"$(hex "$work/payload")"*) echo "good: $message is what the file holds"; return ;; esac
  done
  fail "the file holds another payload than was signed"
}

# names PROOF DIGEST: the entry in PROOF holds this digest.
names() {
  sed -n 's/^extra //p' "$1" | base64 -d > "$work/entry"
  case $(hex "$work/entry") in *"$2"*) echo "good: $1 names $2" ;; *) fail "$1 is about something else" ;; esac
}

# statement PAYLOAD MESSAGES: the dispatch holds the digest of what the author signed.
statement() {
  dispatch=$(hex "$1"); shift
  for message in "$@"; do
    { printf 'exchange/v1/statement\000'; payload "$message"; } | openssl dgst -sha256 -binary > "$work/value"
    case $dispatch in *"$(hex "$work/value")"*) echo "good: $message is the statement that was dispatched" ;; *) fail "$message is another statement" ;; esac
  done
}

"$@"
