/** Whether a rule's matches hold for one packet of which all is known but its mark, its time and its like. Pure. */
import * as z from 'zod/mini';
import { all, any, linkMatches, negate, type Truth, truth } from '../host/firewall/verdict.ts';
import { contains, type Family, parseIp, subnetOf } from '../spec/address.ts';
import type { Destination } from './facts.ts';

export interface Packet {
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'arp';
  readonly family: Family;
  readonly from: string;
  readonly to: string;
  /** Port that the service has; at the other end any. */
  readonly port: number | undefined;
  /** An answer: of a connection that is established, from `port`. */
  readonly isAnswer: boolean;
  readonly incoming: string | undefined;
  readonly outgoing: string | undefined;
  /** Whether `to` is an address of the namespace's own. */
  readonly isToLocal?: boolean;
  /** Whether a rule of this namespace's has changed where it is sent to. */
  readonly isDnat?: boolean;
  /** Where it was sent to before. */
  readonly sentTo?: Destination | undefined;
  /** `echo-request`, `echo-reply`, `destination-unreachable`. */
  readonly icmpType?: string;
}

export type Sets = (name: string) => readonly unknown[] | undefined;

const match = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });
const left = {
  meta: z.object({ meta: z.object({ key: z.string() }) }),
  ct: z.object({ ct: z.object({ key: z.string() }) }),
  payload: z.object({ payload: z.object({ protocol: z.string(), field: z.string() }) }),
  fib: z.object({ fib: z.object({ result: z.literal('type'), flags: z.tuple([z.literal('daddr')]) }) }),
};
const concatenation = z.object({ concat: z.array(z.unknown()) });
const prefix = z.object({ prefix: z.object({ addr: z.string(), len: z.number() }) });
const range = z.object({ range: z.tuple([z.unknown(), z.unknown()]) });
const anonymous = z.object({ set: z.unknown() });

export function matchHolds(raw: unknown, packet: Packet, sets: Sets): Truth {
  const { op, left: key, right } = z.parse(match, raw);
  const found = any(choices(right, sets).map((choice) => keyMatches(key, choice, packet)));
  if (op === '!=') return negate(found);
  return op === '==' || op === 'in' ? found : 'maybe';
}

/** Also a map's key. */
export function keyMatches(key: unknown, choice: unknown, packet: Packet): Truth {
  const [fields, values] = [key, choice].map((each) => concatenation.safeParse(each).data?.concat);
  if (fields !== undefined) {
    return values?.length === fields.length
      ? all(fields.map((field, index) => keyMatches(field, values[index], packet)))
      : 'maybe';
  }
  if (left.fib.safeParse(key).success) return isType(choice, packet.isToLocal);
  const meta = left.meta.safeParse(key).data?.meta.key;
  if (meta !== undefined) return metaMatches(meta, choice, packet);
  const ct = left.ct.safeParse(key).data?.ct.key;
  if (ct === 'status' && choice === 'dnat' && packet.isDnat !== undefined) return truth(packet.isDnat);
  if (ct !== undefined) return ct === 'state' ? stateMatches(choice, packet) : 'maybe';
  const payload = left.payload.safeParse(key).data?.payload;
  return payload === undefined ? 'maybe' : payloadMatches(payload.protocol, payload.field, choice, packet);
}

/** Members of a set: an anonymous one, one by name, or a single value. What is unknown stays as it is. */
function choices(right: unknown, sets: Sets): readonly unknown[] {
  if (typeof right === 'string' && right.startsWith('@')) return sets(right) ?? [undefined];
  if (Array.isArray(right)) return right;
  const inner = anonymous.safeParse(right).data?.set;
  if (inner === undefined) return [right];
  return Array.isArray(inner) ? inner : [inner];
}

function metaMatches(key: string, choice: unknown, packet: Packet): Truth {
  const { protocol, family, incoming, outgoing } = packet;
  if (key === 'l4proto') return protocol === 'arp' ? 'no' : protocolMatches(choice, packet);
  if (key === 'nfproto') return truth(choice === `ipv${family}`);
  if (key === 'protocol') return truth(choice === (protocol === 'arp' ? 'arp' : family === 4 ? 'ip' : 'ip6'));
  if (typeof choice !== 'string') return 'maybe';
  const link = { iifname: incoming, iif: incoming, oifname: outgoing, oif: outgoing }[key];
  if (link !== undefined) return linkMatches(choice, '*', { link });
  return 'maybe';
}

function protocolMatches(choice: unknown, { protocol, family }: Packet): Truth {
  return truth(choice === (protocol === 'icmp' && family === 6 ? 'ipv6-icmp' : protocol));
}

function isType(choice: unknown, isToLocal: boolean | undefined): Truth {
  if (isToLocal === undefined) return 'maybe';
  return choice === 'local' ? truth(isToLocal) : isToLocal ? 'no' : 'maybe';
}

function stateMatches(choice: unknown, { isAnswer, icmpType }: Packet): Truth {
  const state = icmpType === 'destination-unreachable' ? 'related' : isAnswer ? 'established' : 'new';
  return typeof choice === 'string' ? truth(choice === state) : 'maybe';
}

function payloadMatches(protocol: string, field: string, choice: unknown, packet: Packet): Truth {
  if (protocol === 'ip' || protocol === 'ip6') {
    if (packet.protocol === 'arp' || (protocol === 'ip') !== (packet.family === 4)) return 'no';
    if (field === 'saddr') return addressIn(choice, packet.from);
    if (field === 'daddr') return addressIn(choice, packet.to);
    return field === 'protocol' || field === 'nexthdr' ? protocolMatches(choice, packet) : 'maybe';
  }
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    if (packet.protocol !== 'icmp' || (protocol === 'icmp') !== (packet.family === 4)) return 'no';
    return field === 'type' && packet.icmpType !== undefined ? truth(choice === packet.icmpType) : 'maybe';
  }
  if (protocol === 'th' || protocol === 'tcp' || protocol === 'udp') {
    if (protocol === 'th' ? packet.port === undefined : packet.protocol !== protocol) return 'no';
    const service = packet.isAnswer ? 'sport' : 'dport';
    return field === service && packet.port !== undefined ? numberIn(choice, packet.port) : 'maybe';
  }
  return 'maybe';
}

function numberIn(choice: unknown, value: number): Truth {
  const [low, high] = range.safeParse(choice).data?.range ?? [choice, choice];
  return typeof low === 'number' && typeof high === 'number' ? truth(low <= value && value <= high) : 'maybe';
}

function addressIn(choice: unknown, ip: string): Truth {
  // It has none yet.
  if (ip === '') return 'maybe';
  const address = parseIp(ip);
  const block = prefix.safeParse(choice).data?.prefix;
  const [low, high] = range.safeParse(choice).data?.range ?? [choice, choice];
  try {
    if (block !== undefined) return truth(contains(subnetOf(parseIp(block.addr), block.len), address));
    if (typeof low !== 'string' || typeof high !== 'string') return 'maybe';
    const [from, to] = [parseIp(low), parseIp(high)];
    return all([
      truth(from.family === address.family),
      truth(from.value <= address.value && address.value <= to.value),
    ]);
  } catch {
    // A name, or what else nft knows as an address.
    return 'maybe';
  }
}
