/** What comes and goes on an interface, as it is on the wire: packet(7), which Node's standard modules lack. */
import { dlopen } from 'bun:ffi';
import { closeSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { interfaceIndex } from './syscalls.ts';

const AF_PACKET = 17;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const MSG_DONTWAIT = 0x40;
const ETHERNET_BYTES = 6;

/** Packets of one protocol on one interface, without their Ethernet headers (packet(7)). */
export interface PacketSocket {
  /** Throws HostError. */
  send(packet: Buffer, mac: Buffer): void;
  /** One that has come, and from which MAC address; undefined where there is none. */
  receive(): { readonly packet: Buffer; readonly mac: Buffer } | undefined;
  close(): void;
}

function openLibc() {
  return dlopen('libc.so.6', {
    socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    bind: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
    setsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'u32'], returns: 'i32' },
    sendto: { args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'u32'], returns: 'i64' },
    recvfrom: { args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'ptr'], returns: 'i64' },
  }).symbols;
}

/** Of the interface `link` with what is sent to `groups`, too. Throws HostError. */
export function openPacketSocket(link: string, protocol: number, groups: readonly Buffer[]): PacketSocket {
  const c = openLibc();
  const index = interfaceIndex(link);
  // struct sockaddr_ll: family, protocol, index, kind of hardware, kind of packet, address with its length.
  const addressOf = (mac: Buffer) => {
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(protocol, 2);
    address.writeInt32LE(index, 4);
    address[11] = mac.length;
    address.set(mac, 12);
    return address;
  };
  // Without a protocol, or it would hear all interfaces until it is bound.
  const fd = c.socket(AF_PACKET, SOCK_DGRAM_CLOEXEC, 0);
  const own = addressOf(Buffer.alloc(0));
  if (fd < 0 || index === 0 || c.bind(fd, own, own.length) !== 0) {
    if (fd >= 0) closeSync(fd);
    throw new HostError(`cannot listen on ${link}`);
  }
  for (const group of groups) {
    // struct packet_mreq: index, PACKET_MR_MULTICAST, address with its length.
    const request = Buffer.alloc(16);
    request.writeInt32LE(index, 0);
    request.writeUInt16LE(group.length, 6);
    request.set(group, 8);
    c.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request, request.length);
  }
  return {
    send: (packet, mac) => {
      const to = addressOf(mac);
      if (c.sendto(fd, packet, BigInt(packet.length), 0, to, to.length) >= 0n) return;
      throw new HostError(`cannot send on ${link}`);
    },
    receive: () => {
      const packet = Buffer.alloc(65536);
      const from = Buffer.alloc(20);
      const size = Number(
        c.recvfrom(fd, packet, BigInt(packet.length), MSG_DONTWAIT, from, new Uint32Array([from.length])),
      );
      if (size < 0) return undefined;
      return { packet: packet.subarray(0, size), mac: from.subarray(12, 12 + ETHERNET_BYTES) };
    },
    close: () => closeSync(fd),
  };
}
