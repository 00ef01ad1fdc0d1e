/** All checks of `system doctor`, in the order in which they matter. They read only, side by side. */
import { MinictError } from '../errors.ts';
import { NETNS_DIR } from '../state/paths.ts';
import { checkCgroup, checkLimits } from './cgroups.ts';
import { type Check, type Examined, fail } from './check.ts';
import { checkBridgedTraffic, checkFirewall } from './firewall.ts';
import { checkKernel, checkLink, checkNamespaces, checkNetem, checkOverlay } from './kernel.ts';
import { checkForwarding, checkNeighbours, checkRoutes } from './network.ts';
import { checkRoot, checkSelinux } from './security.ts';
import { checkNetnsMount, checkStateFolder } from './storage.ts';
import { checkBusybox, checkTools, TOOLS } from './tools.ts';

type Checks = readonly (readonly [name: string, check: () => Check | Check[] | Promise<Check | Check[]>])[];

/** Starts a handful of processes. Never throws: what cannot be found out is a failed check. */
export async function examine(host: Examined): Promise<Check[]> {
  const checks: Checks = [
    ['root', checkRoot],
    ['kernel', checkKernel],
    ...TOOLS.map((tools) => [tools.name, () => checkTools(tools)] as const),
    ['busybox', checkBusybox],
    ['namespaces', checkNamespaces],
    ['overlayfs', checkOverlay],
    ['state folder', () => checkStateFolder(host)],
    ['veth', () => checkLink('veth', ['type', 'veth', 'peer', 'name', 'b'])],
    ['bridge', () => checkLink('bridge', ['type', 'bridge'])],
    ['netem', checkNetem],
    ['cgroup', checkCgroup],
    ['limits', checkLimits],
    [NETNS_DIR, checkNetnsMount],
    ['ip_forward', checkForwarding],
    ['br_netfilter', checkBridgedTraffic],
    ['firewall', () => checkFirewall(host)],
    ['routes', () => checkRoutes(host)],
    ['neighbours', checkNeighbours],
    ['SELinux', checkSelinux],
  ];
  const results = checks.map(async ([name, check]) => {
    try {
      return await check();
    } catch (error) {
      const hint = error instanceof MinictError ? error.hint : undefined;
      return fail(name, (error as Error).message, hint);
    }
  });
  return (await Promise.all(results)).flat();
}
