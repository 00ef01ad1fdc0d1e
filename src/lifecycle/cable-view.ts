/** Cables between containers, as they are. Reads only, without locks. */
import { type HostLink, readLinks } from '../host/links.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Context } from './context.ts';

/** `down` by `link down`, by hand, or with its container; `stopped` before that has a namespace; `missing`: somebody took it away. */
export type EndState = 'up' | 'down' | 'stopped' | 'missing';

export interface CableEndView {
  readonly container: string;
  readonly nic: string;
  /** With their lengths. */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly state: EndState;
}

export interface CableView {
  readonly cable: string;
  /** One, where the other container, `peer`, has none. */
  readonly ends: readonly CableEndView[];
  readonly peer: string;
}

/** A namespace has its lo at least. */
function stateOf(nic: NicSpec, links: ReadonlyMap<string, HostLink>): EndState {
  const link = links.get(nic.name);
  if (links.size === 0) return 'stopped';
  if (link === undefined) return 'missing';
  return link.isUp ? 'up' : 'down';
}

function endsOf({ name, nics }: ContainerSpec): (CableEndView & { readonly cable: string; readonly peer: string })[] {
  const cables = nics.filter((nic) => nic.kind === 'p2p');
  const links = cables.length === 0 ? new Map<string, HostLink>() : readLinks(name);
  return cables.map((nic) => ({
    cable: nic.cable,
    peer: nic.peer,
    container: name,
    nic: nic.name,
    addresses: nic.addresses,
    mac: nic.mac,
    state: stateOf(nic, links),
  }));
}

/** In the order of their first ends; `failed` hears of a container that cannot be read. */
export async function viewCables({ roots }: Context, failed: (error: unknown) => void): Promise<CableView[]> {
  const cables = new Map<string, { peer: string; ends: CableEndView[] }>();
  for (const name of listContainers(roots)) {
    try {
      const spec = await findContainer(roots, name);
      for (const { cable, peer, ...end } of spec === undefined ? [] : endsOf(spec)) {
        const { ends } = cables.get(cable) ?? { ends: [] };
        cables.set(cable, { peer, ends: [...ends, end] });
      }
    } catch (error) {
      failed(error);
    }
  }
  return [...cables].map(([cable, { peer, ends }]) => ({ cable, peer, ends }));
}
