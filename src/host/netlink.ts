/** Dumps by netlink(7), for facts that /proc lacks, where starting a tool would cost too much. Reads only. */
import { dlopen } from 'bun:ffi';
import { closeSync } from 'node:fs';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;

function openLibc() {
  return dlopen('libc.so.6', {
    socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    send: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
    recv: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
  }).symbols;
}

/** Bodies of the messages that answer a dump request; undefined where the kernel refuses it. */
export function netlinkDump(protocol: number, type: number, body: Uint8Array): Buffer[] | undefined {
  const libc = openLibc();
  const fd = libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol);
  if (fd < 0) return undefined;
  try {
    const request = Buffer.alloc(HEADER_BYTES + body.length);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(type, 4);
    request.writeUInt16LE(NLM_F_REQUEST_DUMP, 6);
    request.set(body, HEADER_BYTES);
    if (libc.send(fd, request, BigInt(request.length), 0) < 0) return undefined;
    const bodies: Buffer[] = [];
    for (;;) {
      const packet = Buffer.alloc(65536);
      const size = Number(libc.recv(fd, packet, BigInt(packet.length), 0));
      if (size <= 0) return undefined;
      for (let at = 0; at < size; at += (packet.readUInt32LE(at) + 3) & ~3) {
        const kind = packet.readUInt16LE(at + 4);
        if (kind === NLMSG_DONE) return bodies;
        if (kind === NLMSG_ERROR) return undefined;
        bodies.push(packet.subarray(at + HEADER_BYTES, at + packet.readUInt32LE(at)));
      }
    }
  } finally {
    closeSync(fd);
  }
}

/** Type and value of each attribute in `data`. */
export function* netlinkAttributes(data: Buffer): Generator<[number, Buffer]> {
  for (let at = 0; at + 4 <= data.length; at += (data.readUInt16LE(at) + 3) & ~3) {
    yield [data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + data.readUInt16LE(at))];
  }
}
