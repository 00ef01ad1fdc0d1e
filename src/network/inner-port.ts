/**
 * Interfaces without an end on the host: what a stop takes down, and with it the other side's carrier, is the interface itself.
 * The kernel forgets then its routes and IPv6 addresses (ip-link(8)): so they are written down before, and put back after.
 */
import { type HostLink, readLinks } from '../host/links.ts';
import type { NicSpec } from '../spec/container.ts';
import type { Step } from '../step.ts';
import type { NicDamage, Owner } from './driver.ts';
import { nicStep, planAddresses, portPart } from './parts.ts';

/**
 * Of scripts that look before they act: `$links` is what is inside of `$1`, and `named` the line of one of them. A
 * namespace that is not there has none; one that cannot be read is a failure, or its interfaces would be given up.
 */
export const FIND = `set -e
if links=$(ip -n "$1" -o -d link show); then :
elif [ "$(stat -f -c %T "/run/netns/$1" 2>/dev/null)" = nsfs ]; then exit 1
else links=; fi
named() { printf '%s\\n' "$2" | grep -F -e ": $1: " -e ": $1@"; }`;

/** What ip(8) says of a next hop, and does not take. */
const SAID_OF_HOPS = 'dead|linkdown|pervasive|offload|trap|offload_failed|unresolved';

/**
 * A route over several interfaces is in no `route save` of one of them, and goes with the last; each of them has it written down,
 * for whichever is up again last. Those of next hop objects go with these.
 */
const SAVE_PATHS = `save_paths() {
  ip -n "$1" "-$3" -o route show table all | grep -F " dev $2 weight " | grep -v -e ' nhid ' -e ' expires ' |
    sed -E -e 's/[\\]/ /g' -e 's/ (${SAID_OF_HOPS})( |$)/ /g' -e 's/ (${SAID_OF_HOPS})( |$)/ /g' -e 's/^/route add /' || :
}`;

/** One that is up although something is written down was not put back in full: that counts, and not what it has now. */
const DOWN = `${FIND}
${SAVE_PATHS}
link=$(named "$2" "$links") || exit 0
case $link in *,UP,* | *",UP>"*) ;; *) exit 0 ;; esac
if [ ! -e "$3.routes6" ]; then
  ip -n "$1" -6 addr save dev "$2" >"$3.addresses"
  ip -n "$1" -4 route save table all dev "$2" >"$3.routes4"
  for family in 4 6; do save_paths "$1" "$2" "$family" >"$3.paths$family"; done
  echo "\${link%%:*}" >"$3.index"
  ip -n "$1" -6 route save table all dev "$2" >"$3.new"
  mv "$3.new" "$3.routes6"
fi
ip -n "$1" link set dev "$2" down`;

/**
 * What was written down of another interface, which had the name before, is given up. Of an address that is there the kernel says
 * so. A next hop may be gone: no route is a reason to stay down.
 */
const UP = `set -e
forget() { rm -f "$1.routes6" "$1.routes4" "$1.addresses" "$1.index" "$1.paths4" "$1.paths6"; }
if [ -e "$3.routes6" ]; then
  link=$(ip -n "$1" -o link show dev "$2")
  [ "$(cat "$3.index")" = "\${link%%:*}" ] || forget "$3"
fi
if [ -e "$3.routes6" ]; then
  said=$(ip -n "$1" addr restore <"$3.addresses" 2>&1) || { echo "$said" | tail -n 1 >&2; exit 1; }
fi
ip -n "$1" link set dev "$2" up
[ -e "$3.routes6" ] || exit 0
ip -n "$1" route restore <"$3.routes4" 2>/dev/null || :
ip -n "$1" route restore <"$3.routes6" 2>/dev/null || :
for family in 4 6; do
  [ ! -s "$3.paths$family" ] || ip -n "$1" "-$family" -force -batch "$3.paths$family" 2>/dev/null || :
done
forget "$3"`;

/** Addresses; then up, with what was written down, and the default routes. */
export function planInnerPort(nic: NicSpec, { container, runDir }: Owner): Step[] {
  const words = ['sh', container, nic.name, `${runDir}/${nic.name}`];
  const part = portPart(nic);
  return [
    ...planAddresses(nic, container),
    {
      ...nicStep(nic, container, 'up', 'NIC up, with the routes that it had', ''),
      part,
      run: { kind: 'run', argv: ['sh', '-c', UP, ...words] },
      undo: { kind: 'run', argv: ['sh', '-c', DOWN, ...words] },
    },
    ...nic.gateways.map((gateway) => {
      const line = `route replace default via ${gateway} dev ${nic.name}`;
      return { ...nicStep(nic, container, `route ${gateway}`, 'default route', line, container), part };
    }),
  ];
}

/** What is inside of each container, once for each look at the host. */
const seen = new WeakMap<object, Map<string, ReadonlyMap<string, HostLink>>>();

export async function findDamageInside({ name }: NicSpec, container: string, look: object): Promise<NicDamage> {
  const all = seen.get(look) ?? new Map<string, ReadonlyMap<string, HostLink>>();
  seen.set(look, all);
  const links = all.get(container) ?? readLinks(container);
  all.set(container, links);
  const link = links.get(name);
  if (link === undefined) return { nic: `${name} inside` };
  return link.isUp ? {} : { port: `${name} up` };
}
