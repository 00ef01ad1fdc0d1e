/** What the kernel has of a container, from outside and from inside, without the numbers that it hands out anew. */
import type { Host } from './host.ts';
import { mountLines } from './snapshot.ts';

const UNLIKE = /\b(ifindex|link_index|link_netnsid|valid_life_time|preferred_life_time|qdisc|txqlen|tentative)\b/;

/** JSON of `ip -j`, without members that differ each time. */
function likeness(json: string): unknown {
  return JSON.parse(json || '[]', (key, value) => (UNLIKE.test(key) ? undefined : value));
}

export function kernelView(host: Host, name: string) {
  const { network, mounts, run, cgroups } = host.snapshot();
  const numberless = (line: string) => line.replace(/:\[\d+\]/g, '');
  const mntns = ['nsenter', `--mount=/run/mntns/${name}`, 'cat', '/proc/self/mountinfo'];
  return {
    network,
    mounts: mounts.map(numberless),
    namespaces: run.filter((path) => !path.startsWith('minict/')),
    cgroups,
    inside: {
      addresses: likeness(host.run(['ip', '-n', name, '-j', '-d', 'addr']).stdout),
      routes: likeness(host.run(['ip', '-n', name, '-j', 'route']).stdout),
      hostname: host.run(['nsenter', `--uts=/run/utsns/${name}`, 'hostname']).stdout,
      mounts: mountLines(host.run(mntns).stdout).map(numberless).sort(),
    },
  };
}
