/** The bridge between two interfaces: whether its ports forward, and which rules its packets meet. */

import type { Interface } from '../../host/inside/interfaces.ts';
import type { NicSpec } from '../../spec/container.ts';
import { quote } from '../../spec/shell-words.ts';
import type { PathFacts } from '../facts.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { bridgeOf, hostEndOf, interfaceOf, nicOf, outgoingOf, type Place, packetOf } from '../place.ts';
import { describeDrop, dropFix, legacyDrop } from '../rule-text.ts';
import { type Drop, findDropAt } from '../rules.ts';

/** bridge(8): `state 3` is forwarding. */
const FORWARDING = 3;

export function checkOutgoingPort(place: Place): Finding | undefined {
  return checkPort(place, outgoingOf(place.hop));
}

export function checkIncomingPort(place: Place): Finding | undefined {
  return checkPort(place, place.hop.incoming);
}

function checkPort({ facts, node }: Place, dev: string | undefined): Finding | undefined {
  const port = hostEndOf(facts, node, dev);
  if (port === undefined) return undefined;
  const nic = nicOf(node, dev);
  if (nic?.kind === 'ovs') return checkOvsPort(facts, nic, port, node.name);
  const wanted = nic?.kind === 'veth' ? nic.bridge : undefined;
  if (wanted !== undefined && port.master !== wanted) {
    const found = port.master === undefined ? `no port of ${wanted}` : `a port of ${port.master}, and not of ${wanted}`;
    const isThere = interfaceOf(facts.host, wanted) !== undefined;
    const fix = isThere ? `ip link set dev ${quote(port.name)} master ${wanted}` : 'minict network reload';
    return fail(port.name, 'bridge port', 'bridge-port', isThere ? found : `${wanted} is not there`, fix);
  }
  const bridge = bridgeOf(facts, node, dev);
  if (bridge === undefined) return undefined;
  if (!bridge.isUp) {
    return fail(bridge.name, 'bridge', 'bridge-port', 'down', `ip link set dev ${quote(bridge.name)} up`);
  }
  if (port.portState !== undefined && port.portState !== 'forwarding') {
    const fix = `bridge link set dev ${quote(port.name)} state ${FORWARDING}`;
    return fail(port.name, 'bridge port', 'bridge-port', `${port.portState} in ${bridge.name}`, fix);
  }
  return ok(port.name, 'bridge port', `forwards in ${bridge.name}`);
}

/** Its database knows its ports; the kernel shows all of them as those of one datapath, or of none. */
function checkOvsPort(
  { ovs, host }: PathFacts,
  { bridge }: Extract<NicSpec, { kind: 'ovs' }>,
  port: Interface,
  container: string,
): Finding {
  const says = (found: string, fix: string) => fail(port.name, 'bridge port', 'bridge-port', found, fix);
  const ports = ovs?.get(bridge);
  if (ovs === undefined) return says('Open vSwitch does not answer', 'service openvswitch-switch start');
  if (ports === undefined || interfaceOf(host, bridge) === undefined) {
    return says(`${bridge} is not there`, 'minict network reload');
  }
  if (!ports.includes(port.name)) return says(`no port of ${bridge}`, `minict start ${container}`);
  return ok(port.name, 'bridge port', `of ${bridge}, by Open vSwitch`);
}

/** To who is none of this host's containers a vxlan network leads by its tunnel. */
export function checkTunnel({ facts, node, hop, next }: Place): Finding | undefined {
  const nic = nicOf(node, outgoingOf(hop));
  if (next !== undefined || nic?.kind !== 'veth' || nic.tunnel === undefined) return undefined;
  const { tunnel, bridge } = nic;
  const says = (found: string, fix: string) => fail(tunnel, 'tunnel', 'bridge-port', found, fix);
  const link = interfaceOf(facts.host, tunnel);
  if (link === undefined) return says('is not there', 'minict network reload');
  if (link.master !== bridge) return says(`no port of ${bridge}`, `ip link set dev ${quote(tunnel)} master ${bridge}`);
  if (!link.isUp) return says('down', `ip link set dev ${quote(tunnel)} up`);
  return ok(tunnel, 'tunnel', `a port of ${bridge}`);
}

/** Ports that are both isolated reach nothing but those that are not. */
export function checkIsolation({ facts, node, hop, next }: Place): Finding | undefined {
  const [a, b] = [hostEndOf(facts, node, outgoingOf(hop)), next && hostEndOf(facts, next.node, next.incoming)];
  if (a === undefined || b === undefined || !a.isIsolated || !b.isIsolated) return undefined;
  const found = `${a.name} and ${b.name} are isolated from one another`;
  return fail(a.name, 'bridge port', 'bridge-port', found, `bridge link set dev ${quote(a.name)} isolated off`);
}

/** Packets from port to port of one bridge meet the host's rules of family bridge, and with br_netfilter those of IP. */
export function checkBridgedRules(place: Place): Finding | undefined {
  const { facts, node, hop, next } = place;
  const { host } = facts;
  const dev = outgoingOf(hop);
  const [a, b] = [hostEndOf(facts, node, dev), next && hostEndOf(facts, next.node, next.incoming)];
  const bridge = bridgeOf(facts, node, dev);
  if (a === undefined || b === undefined || bridge === undefined || a.master !== b.master) return undefined;
  if (host.rules === undefined) return undefined;
  const own = bridgeDrop(place, a, b);
  if (own !== undefined) {
    const { isCertain, rejects } = own;
    const found = describeDrop(own, place.from);
    const [known] = own.base.family === 'bridge' ? (facts.bridged.get(bridge.name) ?? []) : [];
    const fix = known?.fix ?? dropFix(host, own, place.from ?? '', place.to, 'forward');
    return {
      ...fail(bridge.name, 'firewall', 'nft-rule', found, fix),
      ...(isCertain ? {} : { isUnsure: true }),
      ...(rejects ? { refuses: true } : {}),
    };
  }
  const call = `net/bridge/bridge-nf-call-${facts.family === 4 ? 'iptables' : 'ip6tables'}`;
  if (host.settings.get(call) !== '1') return undefined;
  const drop = ipDrop(place, bridge);
  const all = facts.bridged.get(bridge.name);
  const judged = drop === undefined ? legacyDrop(all) : all?.[0];
  if (drop === undefined && judged === undefined)
    return ok(bridge.name, 'br_netfilter', 'no rule of the host stops it');
  const rule = drop === undefined ? judged?.rule : describeDrop(drop, place.from);
  const fix = judged?.fix ?? (drop && dropFix(host, drop, place.from ?? '', place.to, 'forward')) ?? '';
  return {
    ...fail(bridge.name, 'br_netfilter', 'br-netfilter', `bridged packets meet the host's rules: ${rule}`, fix),
    ...(drop === undefined || drop.isCertain ? {} : { isUnsure: true }),
    ...(drop?.rejects ? { refuses: true } : {}),
  };
}

function bridgeDrop(place: Place, a: Interface, b: Interface): Drop | undefined {
  const { rules } = place.facts.host;
  if (rules === undefined) return undefined;
  const packet = packetOf(place, { incoming: a.name, outgoing: b.name });
  const at = (families: string[], hook: string) => findDropAt(rules, families, hook, packet);
  return (
    at(['netdev'], 'ingress') ??
    at(['bridge'], 'prerouting') ??
    at(['bridge'], 'forward') ??
    at(['bridge'], 'postrouting') ??
    at(['netdev'], 'egress')
  );
}

function ipDrop(place: Place, bridge: Interface): Drop | undefined {
  const { rules } = place.facts.host;
  if (rules === undefined) return undefined;
  const families = place.facts.family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  const packet = packetOf(place, { incoming: bridge.name, outgoing: bridge.name });
  for (const hook of ['prerouting', 'forward', 'postrouting']) {
    const drop = findDropAt(rules, families, hook, packet);
    if (drop !== undefined) return drop;
  }
  return undefined;
}
