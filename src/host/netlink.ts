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

/** Kind and body of each message that answers; undefined for an error. */
function* answers(socket: NetlinkSocket): Generator<[number, Buffer] | undefined> {
  for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
    for (let at = 0; at < packet.length; at += (packet.readUInt32LE(at) + 3) & ~3) {
      const kind = packet.readUInt16LE(at + 4);
      if (kind === NLMSG_ERROR) yield undefined;
      else yield [kind, packet.subarray(at + HEADER_BYTES, at + packet.readUInt32LE(at))];
    }
  }
}

/** Bodies of the messages that answer a dump request; undefined where the kernel refuses it. */
export function netlinkDump(protocol: number, type: number, body: Uint8Array): Buffer[] | undefined {
  const socket = openNetlink(protocol);
  if (socket === undefined) return undefined;
  try {
    if (!socket.send(message(type, NLM_F_REQUEST_DUMP, body))) return undefined;
    const bodies: Buffer[] = [];
    for (const answer of answers(socket)) {
      if (answer === undefined) return undefined;
      if (answer[0] === NLMSG_DONE) return bodies;
      bodies.push(answer[1]);
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
    for (const answer of answers(socket)) return answer?.[1];
    return undefined;
  } finally {
    socket.close();
  }
}

/** Has the kernel change something, and waits until it did or refused. */
export function netlinkSet(protocol: number, type: number, body: Uint8Array): void {
  const socket = openNetlink(protocol);
  try {
    if (socket?.send(message(type, NLM_F_REQUEST | NLM_F_ACK, body))) answers(socket).next();
  } finally {
    socket?.close();
  }
}

/** Type and value of each attribute in `data`. */
export function* netlinkAttributes(data: Buffer): Generator<[number, Buffer]> {
  for (let at = 0; at + 4 <= data.length; at += (data.readUInt16LE(at) + 3) & ~3) {
    yield [data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + data.readUInt16LE(at))];
  }
}
