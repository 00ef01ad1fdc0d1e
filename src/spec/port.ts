/** Published ports: `-p [IP:]HOSTPORT:PORT[/PROTOCOL]`, with docker's syntax. Pure. */
import { InvalidInputError } from '../errors.ts';
import { formatIp, parseIp } from './address.ts';
import type { ContainerSpec } from './container.ts';

export type Port = NonNullable<ContainerSpec['ports']>[number];
export type Protocol = Port['protocol'];

/** What is asked for: one port of the container. */
export interface PortRequest {
  /** Of the host; `0.0.0.0` and `::` are all of its family. */
  readonly ip: string;
  /** The host's port is the first free one of these; undefined where any will do. */
  readonly choice: PortRange | undefined;
  readonly protocol: Protocol;
  readonly to: number;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Nobody but the host itself reaches what is published, unless more is asked for. */
const DEFAULT_IP = '127.0.0.1';

/** One `nft` transaction, and one file, hold them all. */
const MOST_PORTS = 1024;

function complaint(text: string, cause: string): InvalidInputError {
  return new InvalidInputError(`cannot publish ${JSON.stringify(text)}: ${cause}`, {
    hint: '[IP:]HOSTPORT:PORT[/udp], for example 8080:80, 0.0.0.0:8080:80, [::]:8000-8005:80-85, or 80 alone',
  });
}

function parseRange(text: string, whole: string): PortRange {
  const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (first === '' || range.first < 1 || range.last > 65535 || range.last < range.first) {
    throw complaint(whole, `'${text}' is no port from 1 to 65535, nor a range of them`);
  }
  return range;
}

/** The host's address, its ports and the container's, as words. */
function split(text: string, whole: string): { ip: string | undefined; host: string; inside: string } {
  const [, bracketed, rest = text] = /^\[([^\]]*)\]:(.*)$/.exec(text) ?? [];
  const words = rest.split(':');
  const plainIp = bracketed === undefined && words.length === 3 ? words.shift() : undefined;
  const ip = bracketed ?? plainIp;
  if (words.length > 2 || (ip !== undefined && words.length !== 2) || ip === '') {
    throw complaint(whole, 'not the form of a published port');
  }
  const inside = words.pop() as string;
  return { ip, host: words[0] ?? '', inside };
}

function parseHostIp(text: string, bracketed: boolean, whole: string): string {
  const address = parseIp(text);
  if (address.family === 6 && !bracketed) throw complaint(whole, 'an IPv6 address stands in brackets');
  if (address.family === 6 && address.value === 1n) {
    throw new InvalidInputError(`cannot publish ${JSON.stringify(whole)}: nothing leads from ::1 into a container`, {
      hint: 'take 127.0.0.1, or an IPv6 address of the host',
    });
  }
  return formatIp(address);
}

/** Throws InvalidInputError. */
export function parsePublish(whole: string): PortRequest[] {
  const [text = '', protocol = 'tcp', ...more] = whole.split('/');
  if (more.length > 0 || !isProtocol(protocol)) throw complaint(whole, 'the protocol is tcp or udp');
  const { ip: hostIp, host, inside } = split(text, whole);
  const ip = hostIp === undefined ? DEFAULT_IP : parseHostIp(hostIp, whole.startsWith('['), whole);
  const to = parseRange(inside, whole);
  const from = host === '' || host === '0' ? undefined : parseRange(host, whole);
  const count = to.last - to.first + 1;
  const isPairwise = from !== undefined && from.last - from.first + 1 === count;
  if (from !== undefined && !isPairwise && count > 1) {
    throw complaint(whole, 'the two ranges are of different lengths');
  }
  if (count > MOST_PORTS) throw complaint(whole, `more than ${MOST_PORTS} ports`);
  return Array.from({ length: count }, (_, index) => {
    const own = from && isPairwise ? { first: from.first + index, last: from.first + index } : from;
    return { ip, choice: own, protocol, to: to.first + index };
  });
}

function isProtocol(text: string): text is Protocol {
  return text === 'tcp' || text === 'udp';
}

/** `-p` of a container, all of them. Throws InvalidInputError. */
export function parsePublishes(texts: readonly string[]): PortRequest[] {
  const all = texts.flatMap(parsePublish);
  if (all.length <= MOST_PORTS) return all;
  throw new InvalidInputError(`cannot publish ${all.length} ports of one container: ${MOST_PORTS} at most`);
}

/** As asked for anew: with a host's port of its own, where that is free. */
export function requestOf({ ip, port, protocol, to }: Pick<Port, 'ip' | 'port' | 'protocol' | 'to'>): PortRequest {
  return { ip, choice: { first: port, last: port }, protocol, to };
}

/** `80/tcp`, as `minict port NAME` takes it. Throws InvalidInputError. */
export function parseInsidePort(whole: string): { to: number; protocol: Protocol } {
  const [text = '', protocol = 'tcp', ...more] = whole.split('/');
  const { first, last } = parseRange(text, whole);
  if (more.length > 0 || !isProtocol(protocol) || first !== last) throw complaint(whole, 'PORT or PORT/PROTOCOL');
  return { to: first, protocol };
}

/** `127.0.0.1:8080`, `[::]:8080`. */
export function hostEnd({ ip, port }: Pick<Port, 'ip' | 'port'>): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
}

/** `127.0.0.1:8080->80/tcp`. */
export function formatPort(port: Port): string {
  return `${hostEnd(port)}->${port.to}/${port.protocol}`;
}

export function isEvery(ip: string): boolean {
  return ip === '0.0.0.0' || ip === '::';
}

/** Only the host itself can reach it. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.');
}

export function isIpv6(ip: string): boolean {
  return ip.includes(':');
}

/** Whether a packet could be for either of them. */
export function collide(a: Pick<Port, 'ip' | 'port' | 'protocol'>, b: Pick<Port, 'ip' | 'port' | 'protocol'>): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol || isIpv6(a.ip) !== isIpv6(b.ip)) return false;
  return a.ip === b.ip || isEvery(a.ip) || isEvery(b.ip);
}
