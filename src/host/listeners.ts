/** Which ports programs of the host listen on, from /proc/net. Reads only. */
import { existsSync, readFileSync } from 'node:fs';
import { formatIp } from '../spec/address.ts';
import { collide, type Port } from '../spec/port.ts';

export type Listener = Pick<Port, 'ip' | 'port' | 'protocol'>;

/** include/net/tcp_states.h: a TCP socket that listens, a UDP one that is not connected. */
const STATES = { tcp: '0A', udp: '07' } as const;

/** Words of 32 bits in host byte order, little-endian. */
function ipOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.map((word) => Buffer.from(word, 'hex').reverse().toString('hex')).join('');
  return formatIp({ family: words.length > 1 ? 6 : 4, value: BigInt(`0x${bytes}`) });
}

function readTable(protocol: Port['protocol'], file: string): Listener[] {
  const path = `/proc/net/${file}`;
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').trim().split('\n').slice(1);
  return lines.flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    return state === STATES[protocol] ? [{ ip: ipOf(address), port: Number.parseInt(port, 16), protocol }] : [];
  });
}

export function readListeners(): Listener[] {
  const setting = '/proc/sys/net/ipv6/bindv6only';
  const isDual = existsSync(setting) && readFileSync(setting, 'utf8').trim() === '0';
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const sixes = readTable(protocol, `${protocol}6`);
    // Most that listen on all of IPv6 have all of IPv4 with it; the kernel does not tell which.
    const both = isDual ? sixes.filter(({ ip }) => ip === '::').map((each) => ({ ...each, ip: '0.0.0.0' })) : [];
    return [...readTable(protocol, protocol), ...sixes, ...both];
  });
}

export function listens(listeners: readonly Listener[], port: Listener): boolean {
  return listeners.some((listener) => collide(listener, port));
}
