/**
 * The kernel's switches that NAT and published ports need, each for one interface and given back: never the host's own
 * switch, which others may rely on. IPv6 has one for each interface since Linux 6.17 (ip-sysctl.rst, force_forwarding); before
 * that only the host's own, with which interfaces ignore router advertisements unless accept_ra is 2. Pure.
 */
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';

/** What the host's switches are. */
export interface ForwardingFacts {
  /** Off, or set by minict: those that may be set, and given back. By path below /proc/sys/net. */
  readonly isOurs: (path: string) => boolean;
  /** Undefined where the kernel has no such switch. */
  readonly read: (path: string) => string | undefined;
}

const fileOf = (path: string) => `/proc/sys/net/${path}`;

/** A dot in an interface's name is a dot here too. */
function planSwitch(id: string, why: string, path: string, link: string): Step {
  const write = (content: string) => ({ kind: 'write', path: fileOf(path), content }) as const;
  // With the interface its switches are gone.
  return { id, why, run: write('1'), undo: write('0'), claims: [{ kind: 'link', name: link }] };
}

export function planRouteLocalnet({ name, link }: NetworkRecord, { isOurs }: ForwardingFacts): Step[] {
  const path = `ipv4/conf/${link}/route_localnet`;
  const why = `127.0.0.1 of the host leads into network ${name}`;
  return isOurs(path) ? [planSwitch(`route_localnet ${link}`, why, path, link)] : [];
}

const isForwarding = (id: string) => id.startsWith('forwarding ') || id.startsWith('forwarding6 ');

/** Steps that somebody else relies on by now: the host's own switch is on. */
export function isReliedOn({ id }: Step, { read }: ForwardingFacts): boolean {
  if (!isForwarding(id)) return false;
  return read(id.startsWith('forwarding6 ') ? 'ipv6/conf/all/forwarding' : 'ipv4/conf/all/forwarding') === '1';
}

export function planForwarding(links: readonly string[], { isOurs }: ForwardingFacts): Step[] {
  return links.flatMap((link) => {
    const path = `ipv4/conf/${link}/forwarding`;
    return isOurs(path) ? [planSwitch(`forwarding ${link}`, `what comes in from ${link} goes on`, path, link)] : [];
  });
}

/** `links` are all with an IPv6 address. */
export function planIpv6Forwarding(links: readonly string[], facts: ForwardingFacts): Step[] {
  const { isOurs, read } = facts;
  if (read('ipv6/conf/all/force_forwarding') === undefined) return planHostsIpv6Switch(facts, links);
  return links.flatMap((link) => {
    const path = `ipv6/conf/${link}/force_forwarding`;
    const why = `IPv6 that comes in from ${link} goes on`;
    return isOurs(path) ? [planSwitch(`forwarding6 ${link}`, why, path, link)] : [];
  });
}

/** It stays on: who else relies on it cannot be told. */
function planHostsIpv6Switch({ read }: ForwardingFacts, links: readonly string[]): Step[] {
  if (read('ipv6/conf/all/forwarding') !== '0') return [];
  const step = (id: string, why: string, path: string, content: string): Step => {
    return { id, why, run: { kind: 'write', path: fileOf(path), content } };
  };
  return [
    ...['default', ...links].flatMap((link) => {
      const path = `ipv6/conf/${link}/accept_ra`;
      const why = `${link} goes on to hear router advertisements`;
      return read(path) === '1' ? [step(`accept_ra ${link}`, why, path, '2')] : [];
    }),
    step(
      'IPv6 forwarding',
      "the host's own switch: this kernel has none for one interface",
      'ipv6/conf/all/forwarding',
      '1',
    ),
  ];
}
