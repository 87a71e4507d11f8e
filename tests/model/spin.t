#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The Spin models: each must hold in every state that it can reach, and each of its mutants, chosen
# by -D, must fail: a model that cannot fail proves nothing. asan: no, tsan: no (models only)
models=${DCM_SOURCE_DIR:-$PWD}/tests/model
cc=${CC:-cc}

command -v spin > /dev/null 2>&1 || { echo '1..0 # SKIP spin is not installed'; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
count=0
failed=0

# Leaves in $errors how many errors the model has under these switches; empty: not all was searched.
search() {
	model=$1
	shift
	errors=
	rm -f pan pan.* ./*.trail
	spin "$@" -a "$models/$model.pml" > log 2>&1 || return
	$cc $optimise -w -DSAFETY -DMEMLIM=1024 -o pan pan.c >> log 2>&1 || return
	./pan -m100000 > log 2>&1 || return
	# A search that ran out of memory or depth has seen less than all.
	grep -q 'Search not completed' log && ! grep -q 'assertion violated' log && return
	grep -q 'max search depth too small' log && return
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' log)
}

result() {
	count=$((count + 1))
	if [ "$1" = good ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		sed 's/^/# /' log >&2
		failed=1
	fi
}

holds() {
	optimise='-O2 -DCOLLAPSE' # a model holds in as little memory as a small machine has
	search "$@"
	if [ "$errors" = 0 ]; then result good "$* holds"; else result bad "$* holds"; fi
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log)
	echo "# proof: spin: $*: ${states:-0} states, ${errors:-1} violations"
}

fails() {
	optimise=-O0 # most of its time goes into the compiler
	search "$@"
	case $errors in
	[1-9]*)
		result good "$*: noticed"
		echo "# mutant: $*: killed by spin"
		;;
	*) result bad "$*: noticed" ;;
	esac
}

holds park -DONE
holds park -DALL
fails park -DONE -DUNORDERED
fails park -DONE -DNO_LOOK
fails park -DONE -DNO_COUNT
fails park -DONE -DLATE_CLEAR
fails park -DALL -DUNORDERED
fails park -DALL -DNO_LOOK
fails park -DALL -DNO_COUNT
fails park -DALL -DTWO_STEPS
fails park -DALL -DLATE_CLEAR

holds registry
fails registry -DSMALL -DUNORDERED_PUBLISH
fails registry -DSMALL -DUNORDERED_SUBSCRIBE
fails registry -DSMALL -DNO_FIRST_LOOK
fails registry -DNO_RESYNC
fails registry -DCLEAR_LATE
fails registry -DNO_REAP_HINT
fails registry -DNO_RETIRE_HINT

holds rendezvous -DONE_CLIENT
holds rendezvous -DONE_SERVER
fails rendezvous -DONE_CLIENT -DUNORDERED_POST
fails rendezvous -DONE_CLIENT -DUNORDERED_PUBLISH
fails rendezvous -DONE_CLIENT -DNO_SERVE
fails rendezvous -DONE_CLIENT -DNO_SECOND_LOOK
fails rendezvous -DONE_CLIENT -DNO_REFUSE

# Newcomers, as many of whom as can be searched; then deaths of those who watch and reap.
holds watchers -DPROCESSES=3 -DOLD=1 -DENDS=1
holds watchers -DOLD=3 -DENDS=1
holds watchers -DOLD=4
holds watchers -DPROCESSES=3 -DOLD=1 -DENDS=1 -DWATCH=1 -DSTOPS=0
fails watchers -DPROCESSES=3 -DOLD=1 -DENDS=1 -DNO_KICK
fails watchers -DPROCESSES=3 -DOLD=1 -DENDS=1 -DKICK_EARLY
fails watchers -DPROCESSES=3 -DOLD=1 -DENDS=1 -DLATE_KEY
fails watchers -DOLD=4 -DWATCH=1
fails watchers -DOLD=4 -DONE_WORD
fails watchers -DOLD=4 -DNO_NEW_CHOICE
fails watchers -DOLD=4 -DCHOOSE_LATE
fails watchers -DOLD=4 -DNO_SECOND_LOOK
fails watchers -DOLD=4 -DMARK_IS_PROOF
fails watchers -DOLD=4 -DNO_HALF_REAPED
fails watchers -DOLD=4 -DZERO

holds takeover -DSLOTS=2 -DREAPERS=2
holds takeover -DSLOTS=1 -DREAPERS=3
fails takeover -DSLOTS=1 -DREAPERS=3 -DSAME_GENERATION
fails takeover -DANY_USE
fails takeover -DOWNED_EARLY
fails takeover -DPROCESS_FIRST
fails takeover -DWORK_FIRST
fails takeover -DFREE_FIRST
fails takeover -DNO_HALF_REAPED

echo "1..$count"
exit $failed
