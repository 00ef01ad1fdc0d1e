/** What the host's firewall stops of what is about to run: for the warnings of `create` and `network create`. */
import { readFileSync } from 'node:fs';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { isEmpty, type Path, readForwardChains, readHooks, rulesMark } from '../host/firewall/hooks.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { isLoopback, type Port } from '../spec/port.ts';
import { readVerdicts, type Verdicts, writeVerdicts } from '../state/firewall-verdicts.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Roots } from '../state/paths.ts';

interface Way {
  readonly link: string;
  readonly path: Path;
}

/**
 * Most hosts have no firewall: then nothing is loaded for it, and no process started. Where there is one, what was found is
 * remembered as long as its rules are the same: to have them printed and judged takes a create 3 ms.
 */
export async function findDrops(
  roots: Roots,
  networks: readonly NetworkRecord[],
  ports: readonly Port[] = [],
): Promise<readonly ForeignDrop[]> {
  const isPublished = ports.some(({ ip }) => !isLoopback(ip));
  const ways = networks.flatMap(({ link, nat, driver }): Way[] => [
    // What Open vSwitch or a macvlan passes on no rule for bridges sees.
    ...(driver === 'bridge' || driver === 'vxlan' ? [{ link, path: 'bridged' as const }] : []),
    ...(nat ? [{ link, path: 'routed' as const }] : []),
    ...(isPublished ? [{ link, path: 'published' as const }] : []),
  ]);
  const chains = readForwardChains();
  const met = ways.filter(({ path }) => !isEmpty(readHooks(path, chains)));
  if (met.length === 0) return [];
  const mark = rulesMark(chains);
  const known = mark === undefined ? {} : readVerdicts(roots, mark);
  const judged = await Promise.all(met.map(async (way) => judge(way, known)));
  const isNew = judged.some(({ key, drops }) => known[key] !== drops);
  // What nobody could read may be readable the next time; and others' rules come and go while it is being read.
  if (mark !== undefined && isNew && judged.every(({ isWhole }) => isWhole) && rulesMark() === mark) {
    writeVerdicts(roots, mark, { ...known, ...Object.fromEntries(judged.map(({ key, drops }) => [key, drops])) });
  }
  return judged.flatMap(({ drops }) => drops);
}

async function judge({ link, path }: Way, known: Verdicts) {
  // Rules name subnets, and interfaces by their numbers.
  const routes = readFileSync('/proc/net/route', 'utf8').split('\n');
  const key = [path, link, interfaceIndex(link), ...routes.filter((route) => route.startsWith(`${link}\t`))].join(' ');
  const drops = known[key];
  if (drops !== undefined) return { key, drops, isWhole: true };
  const { judgeFirewall } = await import('../host/firewall/drops.ts');
  const found = await judgeFirewall(link, path);
  return { key, drops: found.drops, isWhole: found.unread.length === 0 };
}
