/** FRR's zebra and bgpd in a throwaway host, as EVPN's control plane (RFC 8365): BGP with one neighbour. */
import { expect } from 'vitest';
import type { Host } from './host.ts';

const DIR = '/run/evpn';
const DAEMONS = ['zebra', 'bgpd'] as const;

export interface Speaker {
  readonly address: string;
  readonly as: number;
}

function configOf(own: Speaker, neighbour: Speaker): string {
  return `frr defaults datacenter
router bgp ${own.as}
 bgp router-id ${own.address}
 no bgp default ipv4-unicast
 neighbor ${neighbour.address} remote-as ${neighbour.as}
 neighbor ${neighbour.address} timers connect 1
 address-family l2vpn evpn
  neighbor ${neighbour.address} activate
  advertise-all-vni
`;
}

export function startEvpn(host: Host, own: Speaker, neighbour: Speaker): void {
  const make = `mkdir ${DIR} && cat >${DIR}/frr.conf && chown -R frr:frr ${DIR}`;
  expect(host.run(['sh', '-c', make], {}, configOf(own, neighbour))).toMatchObject({ status: 0 });
  for (const daemon of DAEMONS) {
    const files = ['-f', `${DIR}/frr.conf`, '-i', `${DIR}/${daemon}.pid`, '-z', `${DIR}/zserv.api`];
    const words = ['-d', ...files, '--vty_socket', DIR, '-A', '127.0.0.1', '-P', '0'];
    expect(host.run([`/usr/lib/frr/${daemon}`, ...words]), daemon).toMatchObject({ status: 0 });
  }
}

/** What `vtysh` answers to a question in JSON. */
export function askFrr(host: Host, question: string): string {
  return host.run(['vtysh', '--vty_socket', DIR, '-c', question]).stdout;
}

export function stopEvpn(host: Host): void {
  for (const daemon of DAEMONS) {
    const pid = Number(host.run(['cat', `${DIR}/${daemon}.pid`]).stdout);
    if (pid > 0) process.kill(pid, 'SIGTERM');
  }
}
