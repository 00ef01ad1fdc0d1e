/** Settings of one interface of the host's that a new one would not have: the kernel forgets them where it moves to another namespace. Reads only. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

const FAMILIES = ['net/ipv4/conf', 'net/ipv6/conf', 'net/ipv4/neigh', 'net/ipv6/neigh'];

/** The MTU is the interface's, forwarding the host's own switch or what minict sets for NAT, and takes back by itself. */
const NOT_ITS_OWN = ['mtu', 'forwarding', 'force_forwarding', 'mc_forwarding', 'bc_forwarding'];

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // One that is secret, or not set (ip-sysctl.rst, stable_secret).
    return undefined;
  }
}

/** Value by path below /proc/sys: `net/ipv4/conf/eth1/rp_filter`. */
export function readInterfaceSysctls(name: string): Record<string, string> {
  const all = FAMILIES.flatMap((family) => {
    const dir = `/proc/sys/${family}/${name}`;
    const keys = existsSync(dir) ? readdirSync(dir).filter((key) => !NOT_ITS_OWN.includes(key)) : [];
    return keys.flatMap((key): [string, string][] => {
      const value = read(`${dir}/${key}`);
      return value === undefined || value === read(`/proc/sys/${family}/default/${key}`)
        ? []
        : [[`${family}/${name}/${key}`, value]];
    });
  });
  return Object.fromEntries(all);
}
