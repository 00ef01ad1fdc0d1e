/** netlink(7), for facts that /proc lacks, and where starting a tool would cost too much. */
import { type NetlinkSocket, openNetlink } from './syscalls.ts';

const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;

function message(type: number, flags: number, body: Uint8Array): Buffer {
  const request = Buffer.alloc(HEADER_BYTES + body.length);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(type, 4);
  request.writeUInt16LE(flags, 6);
  request.set(body, HEADER_BYTES);
  return request;
}

/** Kind and body of each message of a packet; none where there is none. Without a generator, whose first one takes 0.1 ms. */
function messagesIn(packet: Buffer | undefined): [number, Buffer][] {
  const messages: [number, Buffer][] = [];
  if (packet === undefined) return messages;
  for (let at = 0; at < packet.length; at += (packet.readUInt32LE(at) + 3) & ~3) {
    messages.push([packet.readUInt16LE(at + 4), packet.subarray(at + HEADER_BYTES, at + packet.readUInt32LE(at))]);
  }
  return messages;
}

/** Bodies of the messages that answer a dump request; undefined where the kernel refuses it. */
export function netlinkDump(protocol: number, type: number, body: Uint8Array): Buffer[] | undefined {
  const socket = openNetlink(protocol);
  if (socket === undefined) return undefined;
  try {
    if (!socket.send(message(type, NLM_F_REQUEST_DUMP, body))) return undefined;
    const bodies: Buffer[] = [];
    for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
      for (const [kind, answer] of messagesIn(packet)) {
        if (kind === NLMSG_ERROR) return undefined;
        if (kind === NLMSG_DONE) return bodies;
        bodies.push(answer);
      }
    }
    return undefined;
  } finally {
    socket.close();
  }
}

/** Body of the message that answers a request for one thing; undefined where the kernel refuses it, or has no such thing. */
export function netlinkRequest(protocol: number, type: number, body: Uint8Array): Buffer | undefined {
  const socket = openNetlink(protocol);
  if (socket === undefined) return undefined;
  try {
    if (!socket.send(message(type, NLM_F_REQUEST, body))) return undefined;
    const [kind, answer] = messagesIn(socket.receive())[0] ?? [];
    return kind === NLMSG_ERROR ? undefined : answer;
  } finally {
    socket.close();
  }
}

/** A change that is asked of the kernel; `flags` beside NLM_F_REQUEST and NLM_F_ACK. */
export interface NetlinkChange {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

/**
 * Has the kernel make the changes, one after the other; each is asked for when those before it are made, and may be none.
 * Returns how many it made before there was none, or it refused one.
 */
export function netlinkSet(protocol: number, changes: readonly (() => NetlinkChange | undefined)[]): number {
  const socket = openNetlink(protocol);
  if (socket === undefined) return 0;
  try {
    let made = 0;
    for (const next of changes) {
      const change = next();
      if (change === undefined) break;
      const request = message(change.type, NLM_F_REQUEST | NLM_F_ACK | change.flags, change.body);
      if (!socket.send(request) || !isAcknowledged(socket)) break;
      made += 1;
    }
    return made;
  } finally {
    socket.close();
  }
}

/** An acknowledgement is an error of number 0. */
function isAcknowledged(socket: NetlinkSocket): boolean {
  const [kind, answer] = messagesIn(socket.receive())[0] ?? [];
  return kind === NLMSG_ERROR && answer?.readInt32LE() === 0;
}

export function netlinkAttribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

/** Type and value of each attribute in `data`. */
export function netlinkAttributes(data: Buffer): [number, Buffer][] {
  const attributes: [number, Buffer][] = [];
  for (let at = 0; at + 4 <= data.length; at += (data.readUInt16LE(at) + 3) & ~3) {
    attributes.push([data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + data.readUInt16LE(at))]);
  }
  return attributes;
}
