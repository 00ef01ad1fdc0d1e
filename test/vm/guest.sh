#!/bin/sh
# Runs in the guest, by its systemd, at each boot. The first has the end-to-end tests and what precedes a reboot, the others
# what follows one: a proper one, and one as if the power had failed, with minict at work.
set -u
cd /srv/minict || exit 1

state=/var/lib/minict-test
mkdir -p "$state"
number=$(($(cat "$state/boot" 2>/dev/null || echo 0) + 1))
echo "$number" >"$state/boot"
sync "$state/boot"

# Through a pipe: to a terminal Vitest writes all again each second.
vitest() { # PART
  set -- "$1" "$(sh bin/prepare.sh bun)" --bun node_modules/vitest/vitest.mjs run --configLoader native
  part=$1
  shift
  while IFS= read -r word; do set -- "$@" "$word"; done <words
  {
    MINICT_VM_PART=$part "$@" --config test/vm/vitest.config.ts --passWithNoTests
    echo $? >"$state/status"
  } 2>&1 | cat
  echo "vm: boot $number ended with $(cat "$state/status")"
}

say() {
  echo "vm: boot $number: Linux $(uname -r), $(systemctl --version | head -n 1), $(stat -f -c %T /sys/fs/cgroup)," \
    "up since $(cut -d . -f 1 /proc/uptime) s"
}

say
case $number in
  1)
    install -m 755 dist/minict /usr/local/bin/minict
    mkdir -p /usr/local/lib/minict
    ln -s /srv/minict/debian.tar /usr/local/lib/minict/debian.tar
    if [ -s words ]; then vitest chosen; else vitest main; fi
    # Tests that were chosen by name may need no reboot.
    if [ -s words ] && ! grep -q '^test/vm' words; then
      echo 'vm: done'
      systemctl poweroff
    else
      systemctl reboot
    fi
    ;;
  2)
    vitest after-reboot
    minict create cut >/dev/null 2>&1 &
    until [ -e /var/lib/minict/containers/cut ]; do sleep 0.1; done
    echo b >/proc/sysrq-trigger
    ;;
  *)
    vitest after-reset
    echo 'vm: done'
    systemctl poweroff
    ;;
esac
