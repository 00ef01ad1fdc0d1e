/** Network namespaces on a path, and who has an address: each is read once for a question. Reads only. */
import { existsSync } from 'node:fs';
import { HostError, StateError } from '../errors.ts';
import { hasDefaultRoute } from '../host/inside/defaults.ts';
import { type Interface, readInterfaces } from '../host/inside/interfaces.ts';
import { readNeighbours } from '../host/inside/neighbours.ts';
import { type Ruleset, readRuleset } from '../host/inside/ruleset.ts';
import type { Inside } from '../host/inside/run.ts';
import { readSettings } from '../host/inside/settings.ts';
import { type Family, formatIp, parseIp } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import type { NetworkRecord } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { readInstance } from '../state/store.ts';
import type { Node } from '../why/facts.ts';
import { networkOf } from '../why/place.ts';
import type { Context } from './context.ts';
import { isRunning } from './status.ts';

export const HOST = 'host';

/** A node before anything was sent. */
export interface Seen {
  readonly inside: Inside;
  readonly node: Node;
  readonly before: Ruleset | undefined;
}

/** Containers that are looked into for an address which is in no record. */
const LOOKED_INTO = 64;

/** Minict's records. */
export interface Known {
  readonly specs: readonly ContainerSpec[];
  readonly networks: readonly NetworkRecord[];
}

export class Nodes {
  readonly specs: readonly ContainerSpec[];
  /** The host is the gateway of those that are minict's, whether it has the address or has lost it. */
  private readonly networks: readonly NetworkRecord[];
  private readonly context: Context;
  private readonly family: Family;
  private readonly seen = new Map<string, Promise<Seen>>();

  constructor(context: Context, known: Known, family: Family) {
    this.context = context;
    this.specs = known.specs;
    this.networks = known.networks;
    this.family = family;
  }

  see(name: string): Promise<Seen> {
    const known = this.seen.get(name) ?? this.look(name);
    this.seen.set(name, known);
    return known;
  }

  private async look(name: string): Promise<Seen> {
    const spec = this.specs.find((each) => each.name === name);
    const isHost = spec === undefined;
    const inside: Inside = {
      netns: isHost ? undefined : containerPaths(this.context.roots, name).netns,
      verbose: this.context.verbose,
    };
    const runs = !isHost && isRunning(readInstance(this.context.roots) ?? '', name);
    const known = { name, isHost, spec, isRunning: runs, isPaused: runs && this.isPaused(name) };
    const nothing = { interfaces: [], settings: new Map(), hasDefault: false, rules: undefined, neighbours: [] };
    const state = spec === undefined ? 'up' : this.stateOf(name);
    const interfaces = state === 'up' ? await readOrGone(inside) : undefined;
    if (interfaces === undefined) {
      const missing = state === 'stopped' ? 'stopped' : 'gone';
      return { inside, node: { ...known, state: missing, ...nothing }, before: undefined };
    }
    const [settings, hasDefault, before] = await Promise.all([
      readSettings(inside, settingsOf(interfaces)),
      hasDefaultRoute(inside, this.family),
      readRuleset(inside),
    ]);
    const rules = before && { before, after: before, wasSent: false };
    return {
      inside,
      node: { ...known, state, interfaces, settings, hasDefault, rules, neighbours: [] },
      before,
    };
  }

  isUp(name: string): boolean {
    return this.stateOf(name) === 'up';
  }

  private isPaused(name: string): boolean {
    try {
      return readEnterRecord(containerPaths(this.context.roots, name))?.paused === true;
    } catch (error) {
      // A damaged one is told by who enters.
      if (error instanceof StateError) return false;
      throw error;
    }
  }

  private stateOf(name: string): Node['state'] {
    const paths = containerPaths(this.context.roots, name);
    if (!existsSync(paths.enter)) return 'stopped';
    return existsSync(paths.netns) ? 'up' : 'gone';
  }

  /** The same nodes after a probe was sent: neighbours have answered, counters have moved. By name. */
  async lookAgain(wasSent: boolean): Promise<Map<string, Node>> {
    const all = await Promise.all(this.seen.values());
    const again = all.map(async ({ inside, node, before }): Promise<[string, Node]> => {
      if (node.state !== 'up') return [node.name, node];
      const [neighbours, after] = await Promise.all([readNeighbours(inside), readRuleset(inside)]);
      return [node.name, { ...node, neighbours, rules: before && after && { before, after, wasSent } }];
    });
    return new Map(await Promise.all(again));
  }

  /** Who has an address, and on which interface; `beside` is on the same network. Undefined for a stranger. */
  async ownerOf(ip: string, beside: Node, dev: string): Promise<{ name: string; dev: string } | undefined> {
    const host = await this.see(HOST);
    const onHost = holderOf(host.node, ip);
    if (onHost !== undefined) return { name: HOST, dev: onHost };
    const network = networkOf(beside.spec?.nics.find((nic) => nic.name === dev));
    const recorded = this.specs.flatMap(({ name, nics }) =>
      nics
        .filter(({ addresses }) => addresses.some((cidr) => isSame(cidr.split('/')[0] ?? '', ip)))
        .map((nic) => ({ name, dev: nic.name, network: networkOf(nic) })),
    );
    const known = recorded.find((each) => each.network === network) ?? recorded[0];
    if (known !== undefined) {
      const { node } = await this.see(known.name);
      return { name: known.name, dev: holderOf(node, ip) ?? known.dev };
    }
    const up = this.specs.filter(({ name }) => this.isUp(name)).slice(0, LOOKED_INTO);
    for (const { name } of up) {
      const inside = { netns: containerPaths(this.context.roots, name).netns, verbose: false };
      const found = (await readOrGone(inside))?.find(({ addresses }) => addresses.some((each) => each.ip === ip));
      if (found !== undefined) return { name, dev: found.name };
    }
    const lost = this.networks.find(
      ({ foreign, internal, subnets }) => !foreign && !internal && subnets.some(({ gateway }) => gateway === ip),
    );
    return lost && { name: HOST, dev: lost.link };
  }

  /** Containers in several networks that hand packets on. */
  async forwarders(): Promise<Set<string>> {
    const several = this.specs.filter((spec) => spec.nics.length > 1 && this.isUp(spec.name));
    const setting = this.family === 4 ? 'net/ipv4/ip_forward' : 'net/ipv6/conf/all/forwarding';
    const read = several.slice(0, LOOKED_INTO).map(async ({ name }) => {
      const inside = { netns: containerPaths(this.context.roots, name).netns, verbose: false };
      return (await readSettings(inside, [setting])).get(setting) === '1' ? [name] : [];
    });
    return new Set((await Promise.all(read)).flat());
  }
}

async function readOrGone(inside: Inside): Promise<Interface[] | undefined> {
  try {
    return await readInterfaces(inside);
  } catch (error) {
    if (error instanceof HostError && inside.netns !== undefined && Bun.which('ip') !== null) return undefined;
    throw error;
  }
}

function holderOf({ interfaces }: Node, ip: string): string | undefined {
  return interfaces.find(({ addresses }) => addresses.some((each) => each.ip === ip))?.name;
}

const isSame = (a: string, b: string) => formatIp(parseIp(a)) === formatIp(parseIp(b));

/** Of what is no port of a bridge: a port has no addresses of its own. */
function settingsOf(interfaces: readonly Interface[]): string[] {
  const devs = ['all', ...interfaces.filter(({ master }) => master === undefined).map(({ name }) => name)];
  const keys = ['rp_filter', 'forwarding', 'arp_ignore', 'route_localnet'];
  return [
    ...devs.flatMap((dev) => keys.map((key) => `net/ipv4/conf/${dev}/${key}`)),
    'net/ipv6/conf/all/forwarding',
    'net/ipv4/icmp_echo_ignore_all',
    'net/ipv6/icmp/echo_ignore_all',
    'net/bridge/bridge-nf-call-iptables',
    'net/bridge/bridge-nf-call-ip6tables',
  ];
}
