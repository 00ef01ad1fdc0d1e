/** Where containers are kept, and where their namespaces are. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { NETNS_DIR } from '../state/paths.ts';
import { checkUpper } from '../storage/overlay.ts';
import { type Check, type Examined, pass, warn } from './check.ts';

export function checkStateFolder({ roots }: Examined): Check {
  let dir = roots.root;
  while (!existsSync(dir)) dir = dirname(dir);
  checkUpper(dir);
  return pass('state folder', dir === roots.root ? roots.root : `${roots.root} (to be made in ${dir})`);
}

/** `ip netns` makes it a shared mount of its own, so that namespaces bound there show in other mount namespaces. */
export function checkNetnsMount(): Check {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .findLast((entry) => entry.split(' ')[4] === NETNS_DIR);
  if (line === undefined) return pass(NETNS_DIR, 'no mount yet; the first create makes it one');
  return / shared:\d/.test(line)
    ? pass(NETNS_DIR, 'a shared mount')
    : warn(NETNS_DIR, 'a mount, but not shared', `mount --make-shared ${NETNS_DIR}`);
}
