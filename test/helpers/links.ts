/** Interfaces, addresses and routes as `ip -j` tells them, on a throwaway host or inside a container of its. */
import type { Host } from './host.ts';

export interface Link {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly ifalias?: string;
  readonly master?: string;
  readonly operstate: string;
  readonly flags: readonly string[];
  /** Of a route. */
  readonly gateway?: string;
  readonly dev?: string;
  readonly addr_info: readonly {
    local: string;
    prefixlen: number;
    family: string;
    scope: string;
    broadcast?: string;
  }[];
}

export function readIp(host: Host, ...words: string[]): Link[] {
  return JSON.parse(host.run(['ip', '-j', ...words]).stdout) as Link[];
}

export function eth0Of(host: Host, name: string): Link {
  return readIp(host, '-n', name, 'addr', 'show', 'dev', 'eth0')[0] as Link;
}

/** With their lengths, of an interface in a container. */
export function globalAddresses(host: Host, name: string, dev: string): string[] {
  const [link] = readIp(host, '-n', name, 'addr', 'show', 'dev', dev);
  return (link?.addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}
