/** All network settings of a namespace, by kind, read from the kernel or from a snapshot, and what differs between two. */
import { addresses } from '../netns/addresses.ts';
import type { Kind, Lines, NetnsPlace } from '../netns/kind.ts';
import { links } from '../netns/links.ts';
import { nftables } from '../netns/nftables.ts';
import { mptcp, neighbours, routes, rules } from '../netns/routes.ts';
import { readChangedSysctls, sysctls, sysctlsOf } from '../netns/sysctls.ts';
import { tc } from '../netns/tc.ts';
import { readNetSnapshotFile } from '../state/net-snapshots.ts';
import type { ContainerPaths } from '../state/paths.ts';

/** In the order in which they depend on each other. */
export const KINDS: readonly Kind[] = [sysctls, links, addresses, neighbours, routes, rules, mptcp, nftables, tc];

/** In which file of a snapshot all values are; `sysctls` has those that differ from a new namespace's, for people. */
const ALL_SYSCTLS = '.sysctls';

export interface NetState {
  /** Of each kind all its lines. */
  readonly lines: ReadonlyMap<Kind, Lines>;
  readonly changedSysctls: Lines;
}

/** Throws HostError. */
export async function readNetState(place: NetnsPlace): Promise<NetState> {
  const [changedSysctls, ...all] = await Promise.all([
    readChangedSysctls(place),
    ...KINDS.map(async (kind) => [kind, await kind.read(place)] as const),
  ]);
  return { lines: new Map(all), changedSysctls };
}

export function filesOf({ lines, changedSysctls }: NetState): Map<string, Lines> {
  const files = [...lines].map(([kind, text]) => [kind === sysctls ? ALL_SYSCTLS : kind.name, text] as const);
  return new Map([...files, [sysctls.name, changedSysctls]]);
}

/** Throws StateError. */
export function readSavedState(paths: ContainerPaths, snapshot: string): NetState {
  const read = (file: string) => readNetSnapshotFile(paths, snapshot, file);
  return {
    lines: new Map(KINDS.map((kind) => [kind, read(kind === sysctls ? ALL_SYSCTLS : kind.name)])),
    changedSysctls: read(sysctls.name),
  };
}

export interface Difference {
  readonly kind: Kind;
  /** As the snapshot's file has them. */
  readonly old: Lines;
  readonly now: Lines;
}

function comparable(kind: Kind, then: NetState, now: NetState): Difference {
  const lines = (state: NetState) => state.lines.get(kind) ?? [];
  if (kind !== sysctls) return { kind, old: lines(then), now: lines(now) };
  // A new namespace has what the host has just now, so that alone says nothing of a change.
  const [before, after] = [sysctlsOf(lines(then)), sysctlsOf(lines(now))];
  const named = sysctlsOf(then.changedSysctls);
  const fresh = sysctlsOf(now.changedSysctls);
  const shown = [...after].filter(([key, value]) => {
    const old = before.get(key);
    return named.has(key) || (old === undefined ? fresh.has(key) : old !== value);
  });
  return { kind, old: then.changedSysctls, now: shown.map(([key, value]) => `${key} = ${value}`).sort() };
}

export function differences(then: NetState, now: NetState): Difference[] {
  return KINDS.map((kind) => comparable(kind, then, now)).filter((pair) => pair.old.join('\n') !== pair.now.join('\n'));
}
