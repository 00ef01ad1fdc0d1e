/**
 * why: facts of the path between two ends, gathered before and after a probe. It changes nothing that stays: a probe leaves
 * what any packet leaves, a neighbour entry and moved counters.
 */
import { HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { judgeFirewall } from '../host/firewall/drops.ts';
import type { Path } from '../host/firewall/hooks.ts';
import { type Outcome, probePing, probeTcp, probeUdp } from '../host/inside/probe.ts';
import { readRoute } from '../host/inside/routes.ts';
import type { Inside } from '../host/inside/run.ts';
import { readListeners } from '../host/inside/sockets.ts';
import { readOvs } from '../host/ovs.ts';
import { findBusybox } from '../image/base.ts';
import { foreignLoss, impairmentOf, readTcFacts } from '../network/impairment.ts';
import { type Family, formatIp, parseIp } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseContainerName } from '../spec/name.ts';
import { quote } from '../spec/shell-words.ts';
import { listNetworks, readNetworks } from '../state/network.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Hop, Loss, MtuFacts, Node, PathFacts, Question } from '../why/facts.ts';
import { bridgeOf, cidrSubnet, interfaceOf, isIn, networkOf, outgoingOf, whereOf } from '../why/place.ts';
import type { Context } from './context.ts';
import { HOST, type Known, Nodes, type Seen } from './why-nodes.ts';
import { walk } from './why-walk.ts';

/** Of an IP and an ICMP header. */
const PING_HEADER_BYTES = { 4: 28, 6: 48 } as const;
const SMALL_BYTES = 16;

/** Throws NotFoundError, InvalidInputError, HostError. */
export async function readPath(context: Context, question: Question, wanted: Family | undefined): Promise<PathFacts> {
  const read = await Promise.all(listContainers(context.roots).map((name) => findContainer(context.roots, name)));
  const specs = read.filter((spec) => spec !== undefined);
  const known = { specs, networks: await readNetworks(context.roots, listNetworks(context.roots)) };
  requireEnd(specs, question.source);
  const to = await findAddress(context, known, question, wanted);
  const family: Family = to.includes(':') ? 6 : 4;
  const nodes = new Nodes(context, known, family);
  const host = await nodes.see(HOST);
  const start = await nodes.see(question.source);
  const { protocol, port } = question;
  const way = { protocol, family };
  const there = await walk(nodes, { ...way, start: start.node.name, to: { ip: to, port } });
  const last = there.at(-1);
  const arrives = last?.route?.kind === 'route' && last.route.isLocal && there.length > 1;
  const from = there[0]?.from;
  const seenFrom = last?.from;
  const back =
    arrives && seenFrom !== undefined
      ? await walk(
          nodes,
          { ...way, start: last.node.name, to: { ip: seenFrom, port: last.to.port } },
          { from: last.to.ip, there },
        )
      : [];
  const canLeave = there[0]?.route?.kind === 'route' && last?.node.state === 'up';
  const probe = canLeave ? await send(start.inside, question, family, to) : undefined;
  // A ping goes where it is sent to, whatever rules there are for a port.
  const isLed = there.some(({ sentTo }) => sentTo !== undefined);
  const mtu =
    probe === 'answered' && there.length > 1 && !isLed ? await measure(start, there[0] as Hop, family, to) : undefined;
  const after = await nodes.lookAgain(probe !== undefined);
  const now = (hop: Hop): Hop => ({ ...hop, node: after.get(hop.node.name) ?? hop.node });
  const isLost = probe !== undefined && probe !== 'answered';
  const losses = isLost ? await readLosses([...there, ...back]) : new Map<string, Loss>();
  const seen = {
    question,
    family,
    from,
    to,
    host: after.get(HOST) ?? host.node,
    containers: specs,
    probe,
    mtu,
    losses,
  };
  const hops = { there: there.map(now), back: back.map(now) };
  const forwarders = await nodes.forwarders();
  const up = new Set(specs.map(({ name }) => name).filter((name) => nodes.isUp(name)));
  const ovs = await readOvsPorts([...there, ...back]);
  const path = { ...seen, ...hops, up, ovs, forwarders, listeners: undefined, bridged: new Map(), routed: new Map() };
  const listens = last?.route?.kind === 'route' && last.route.isLocal && question.protocol !== 'icmp';
  const [listeners, bridged, routed] = await Promise.all([
    listens ? readListeners((await nodes.see(last.node.name)).inside, question.protocol as 'tcp' | 'udp') : undefined,
    judgeHost(path, 'bridged'),
    judgeHost(path, 'routed'),
  ]);
  return { ...path, listeners, bridged, routed };
}

/** Of minict's impairments, and of what somebody else has put there that loses packets by its nature. */
async function readLosses(hops: readonly Hop[]): Promise<PathFacts['losses']> {
  const places = new Map<string, { name: string; dev: string }>();
  for (const hop of hops) {
    const dev = outgoingOf(hop);
    const isInside = !hop.node.isHost && hop.node.state === 'up';
    if (dev !== undefined && isInside) places.set(whereOf(hop.node, dev), { name: hop.node.name, dev });
  }
  const losses = new Map<string, Loss>();
  for (const [where, { name, dev }] of places) {
    try {
      const facts = await readTcFacts(name, dev);
      const own = impairmentOf(facts).lossPercent ?? 0;
      if (own > 0) {
        losses.set(where, { percent: own, by: 'net impair', fix: `minict net impair ${name}:${dev} --clear` });
        continue;
      }
      const percent = foreignLoss(facts);
      const fix = `tc -n ${name} qdisc del dev ${quote(dev)} root`;
      if (percent > 0) losses.set(where, { percent, by: `its qdisc ${facts.root?.kind}`, fix });
    } catch (error) {
      // What cannot be read is no explanation.
      if (!(error instanceof HostError)) throw error;
    }
  }
  return losses;
}

async function readOvsPorts(hops: readonly Hop[]): Promise<PathFacts['ovs']> {
  if (!hops.some(({ node }) => node.spec?.nics.some(({ kind }) => kind === 'ovs'))) return undefined;
  try {
    const bridges = [...(await readOvs())];
    return new Map(bridges.map(([bridge, { ports }]) => [bridge, ports.map(({ name }) => name)]));
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

function requireEnd(specs: readonly ContainerSpec[], name: string): ContainerSpec | undefined {
  if (name === HOST) return undefined;
  const spec = specs.find((each) => each.name === parseContainerName(name));
  if (spec !== undefined) return spec;
  throw new NotFoundError(`cannot find container ${name}: no such container`, { hint: 'minict ps -a; or host' });
}

/** An address as it is; a container's, or the host's, on a network that both are in, if there is one. IPv4 comes first. */
async function findAddress(
  context: Context,
  known: Known,
  { source, target }: Question,
  wanted: Family | undefined,
): Promise<string> {
  const { specs } = known;
  const isWanted = (ip: string) => wanted === undefined || ip.includes(':') === (wanted === 6);
  const isName = specs.some(({ name }) => name === target);
  const isAddress = target.includes(':') || (/^[\d.]+$/.test(target) && !isName);
  const literal = isAddress ? formatIp(parseIp(target)) : undefined;
  if (literal !== undefined) {
    if (isWanted(literal)) return literal;
    throw new InvalidInputError(`cannot use ${literal} with -${wanted}: it is of the other family`, {
      hint: `without -${wanted}`,
    });
  }
  const spec = requireEnd(specs, target);
  const own = specs.find(({ name }) => name === source)?.nics ?? [];
  const shared = new Set(own.map(networkOf));
  const sorted = [...(spec?.nics ?? [])].sort(
    (a, b) => Number(shared.has(networkOf(b))) - Number(shared.has(networkOf(a))),
  );
  const recorded = sorted.flatMap(({ addresses }) => addresses.map((cidr) => cidr.split('/')[0] as string));
  const { node } = await new Nodes(context, known, wanted ?? 4).see(target);
  const links = node.interfaces.flatMap(({ name, addresses }) => (name === 'lo' ? [] : addresses));
  const actual = links.filter(({ isLinkLocal }) => !isLinkLocal).map(({ ip }) => ip);
  const subnets = own.flatMap(({ addresses }) => addresses.map(cidrSubnet));
  const isNear = (ip: string) => subnets.some((subnet) => isIn(subnet, ip));
  const near = spec === undefined ? actual.toSorted((a, b) => Number(isNear(b)) - Number(isNear(a))) : actual;
  const all = [...recorded, ...near].filter(isWanted);
  const found = all.find((ip) => !ip.includes(':')) ?? all[0];
  if (found !== undefined) return found;
  throw new NotFoundError(`cannot find an address of ${target}: it has none${wanted ? ` of IPv${wanted}` : ''}`, {
    hint: spec === undefined ? 'ip addr' : `minict network connect NETWORK ${target}`,
  });
}

function pingTool(): readonly string[] | undefined {
  if (Bun.which('ping') !== null) return ['ping', '-n'];
  try {
    return [findBusybox(), 'ping'];
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

async function send(inside: Inside, { protocol, port }: Question, family: Family, to: string): Promise<Outcome> {
  if (port === undefined || protocol === 'icmp') {
    const tool = pingTool();
    if (tool !== undefined) return probePing(inside, tool, { family, ip: to, payloadBytes: SMALL_BYTES });
    throw new HostError('cannot ping: neither ping nor a static busybox', { hint: 'apt-get install iputils-ping' });
  }
  const tool = ['bash', 'timeout'].find((name) => Bun.which(name) === null);
  if (tool !== undefined)
    throw new HostError(`cannot run ${tool}: not found in PATH`, { hint: 'apt-get install bash' });
  return protocol === 'tcp' ? probeTcp(inside, to, port) : probeUdp(inside, to, port);
}

/** Pings of the full MTU; the first that is lost may teach the source what fits. */
async function measure({ inside, node }: Seen, hop: Hop, family: Family, to: string): Promise<MtuFacts | undefined> {
  const tool = pingTool();
  const link = interfaceOf(node, outgoingOf(hop));
  if (tool === undefined || link === undefined) return undefined;
  const ping = (bytes: number) =>
    probePing(inside, tool, { family, ip: to, payloadBytes: bytes - PING_HEADER_BYTES[family] });
  const known = async () => {
    const route = await readRoute(inside, { family, to });
    return route.kind === 'route' ? route.mtuBytes : undefined;
  };
  const small = await ping(SMALL_BYTES + PING_HEADER_BYTES[family]);
  const before = await known();
  const fullBytes = before ?? link.mtuBytes;
  if (small !== 'answered') return { fullBytes, small, full: 'unknown', learntBytes: undefined };
  // The first that is lost may teach it; the next one is in fragments then.
  const full = await ping(fullBytes);
  const learnt = await known();
  return { fullBytes, small, full, learntBytes: learnt };
}

/** What src/host/firewall says of the bridges that the packet crosses, or comes to the host by. */
async function judgeHost(facts: PathFacts, kind: Path): Promise<PathFacts['bridged']> {
  const crossed = (node: Node, dev: string | undefined) => bridgeOf(facts, node, dev)?.name;
  const hops = [...facts.there, ...facts.back];
  const names = hops.flatMap(({ node, incoming, route }) => {
    if (kind === 'routed') return node.isHost && incoming !== undefined ? [incoming] : [];
    return node.isHost || route?.kind !== 'route' || route.isLocal ? [] : [crossed(node, route.dev)];
  });
  const bridges = [...new Set(names.filter((name) => name !== undefined))];
  return new Map(
    await Promise.all(bridges.map(async (name) => [name, (await judgeFirewall(name, kind)).drops] as const)),
  );
}
