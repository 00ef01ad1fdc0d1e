/** minict link ls */
import { type CableEndView, type CableView, viewCables } from '../lifecycle/cable-view.ts';
import type { Context } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { getContainer } from '../state/store.ts';
import { print, requireFormat, table } from './output.ts';
import { reportError } from './report.ts';

function shown({ container, nic, addresses }: CableEndView): [string, string] {
  return [`${container}:${nic}`, addresses.join(', ')];
}

function stateOf({ ends, peer }: CableView): string {
  const troubles = ends
    .filter(({ state }) => state !== 'up')
    .map(({ container, nic, state }) => `${container}:${nic} ${state}`);
  if (ends.length < 2) troubles.push(`${peer} has no end`);
  return troubles.length === 0 ? 'up' : troubles.join(', ');
}

/** Who it leads to is said by the other end, where there is one. */
function rowOf({ cable, ends, peer }: CableView): object {
  return { cable, ends, ...(ends.length < 2 ? { peer } : {}), state: stateOf({ cable, ends, peer }) };
}

/** Those of `names`, or all. Throws NotFoundError, InvalidInputError. */
export async function listCables(context: Context, names: readonly string[], format: string): Promise<void> {
  requireFormat(format);
  for (const name of names) await getContainer(context.roots, parseContainerName(name));
  const all = await viewCables(context, (error) => {
    process.exitCode = reportError(error);
  });
  const isWanted = ({ ends }: CableView) =>
    names.length === 0 || ends.some(({ container }) => names.includes(container));
  const cables = all.filter(isWanted);
  if (format === 'json') {
    print(`${JSON.stringify(cables.map(rowOf))}\n`);
    return;
  }
  const rows = cables.map((cable) => {
    const [one, other] = cable.ends.map(shown) as [[string, string], [string, string] | undefined];
    return [...one, ...(other ?? [cable.peer, '']), stateOf(cable)];
  });
  print(table([['END', 'ADDRESSES', 'END', 'ADDRESSES', 'STATE'], ...rows]));
}
