/**
 * From what tcpdump writes (pcap(5), in nanoseconds, in this machine's byte order) to one pcapng with an interface for each
 * tcpdump (draft-ietf-opsawg-pcapng). dumpcap(1) could merge them, but drops what it has not yet written when the first of its
 * inputs ends; and an interface that goes away is such an end. Pure.
 */
import { HostError } from '../errors.ts';

export interface Packet {
  /** Of the interface, in the order of the pcapng's. */
  readonly source: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  /** On the wire; `data` may be less. */
  readonly lengthBytes: number;
  readonly data: Buffer;
}

const PCAP_NANOSECONDS = 0xa1b23c4d;
const PCAP_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

/** One tcpdump's output, piece by piece. */
export class PcapReader {
  readonly source: number;
  /** Undefined until its header has come. */
  link: { readonly type: number; readonly snapBytes: number } | undefined;
  private rest: Buffer = Buffer.alloc(0);

  constructor(source: number) {
    this.source = source;
  }

  /** Packets that are whole now. Throws HostError. */
  read(piece: Uint8Array): Packet[] {
    const bytes = this.rest.length === 0 ? Buffer.from(piece) : Buffer.concat([this.rest, piece]);
    const packets: Packet[] = [];
    let at = 0;
    if (this.link === undefined && bytes.length >= PCAP_HEADER_BYTES) {
      if (bytes.readUInt32LE(0) !== PCAP_NANOSECONDS) throw new HostError('cannot read what tcpdump writes: no pcap');
      this.link = { type: bytes.readUInt32LE(20), snapBytes: bytes.readUInt32LE(16) };
      at = PCAP_HEADER_BYTES;
    }
    while (this.link !== undefined && bytes.length >= at + RECORD_HEADER_BYTES) {
      const begin = at + RECORD_HEADER_BYTES;
      const end = begin + bytes.readUInt32LE(at + 8);
      if (bytes.length < end) break;
      packets.push({
        source: this.source,
        seconds: bytes.readUInt32LE(at),
        nanoseconds: bytes.readUInt32LE(at + 4),
        lengthBytes: bytes.readUInt32LE(at + 12),
        data: bytes.subarray(begin, end),
      });
      at = end;
    }
    this.rest = bytes.subarray(at);
    return packets;
  }
}

export function compareTime(a: Packet, b: Packet): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}

const padded = (bytes: number) => (bytes + 3) & ~3;

/** Type, length, what is in it, and the length again. */
function block(type: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + padded(body.length));
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(bytes.length, 4);
  body.copy(bytes, 8);
  bytes.writeUInt32LE(bytes.length, bytes.length - 4);
  return bytes;
}

function option(code: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + padded(value.length));
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt16LE(value.length, 2);
  value.copy(bytes, 4);
  return bytes;
}

const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const IF_FILTER = 11;
const NANOSECONDS = 9;
const END_OF_OPTIONS = Buffer.alloc(4);

export function sectionHeader(): Buffer {
  const fixed = Buffer.alloc(16);
  fixed.writeUInt32LE(0x1a2b3c4d, 0);
  fixed.writeUInt16LE(1, 4);
  // Nobody knows yet how long the section will be.
  fixed.writeBigInt64LE(-1n, 8);
  return block(0x0a0d0d0a, Buffer.concat([fixed, option(SHB_USERAPPL, Buffer.from('minict')), END_OF_OPTIONS]));
}

export function interfaceDescription(
  name: string,
  { type, snapBytes }: { readonly type: number; readonly snapBytes: number },
  filter: string | undefined,
): Buffer {
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16LE(type, 0);
  fixed.writeUInt32LE(snapBytes, 4);
  const options = [
    option(IF_NAME, Buffer.from(name)),
    option(IF_TSRESOL, Buffer.from([NANOSECONDS])),
    ...(filter === undefined ? [] : [option(IF_FILTER, Buffer.from(`\0${filter}`))]),
  ];
  return block(1, Buffer.concat([fixed, ...options, END_OF_OPTIONS]));
}

const ENHANCED_PACKET = 6;
const PACKET_OVERHEAD_BYTES = 32;

/** As one piece, which takes one write(2). */
export function enhancedPackets(packets: readonly Packet[]): Buffer {
  const size = packets.reduce((sum, { data }) => sum + PACKET_OVERHEAD_BYTES + padded(data.length), 0);
  const bytes = Buffer.alloc(size);
  let at = 0;
  for (const { source, seconds, nanoseconds, lengthBytes, data } of packets) {
    const length = PACKET_OVERHEAD_BYTES + padded(data.length);
    const time = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
    bytes.writeUInt32LE(ENHANCED_PACKET, at);
    bytes.writeUInt32LE(length, at + 4);
    bytes.writeUInt32LE(source, at + 8);
    bytes.writeUInt32LE(Number(time >> 32n), at + 12);
    bytes.writeUInt32LE(Number(time & 0xffffffffn), at + 16);
    bytes.writeUInt32LE(data.length, at + 20);
    bytes.writeUInt32LE(lengthBytes, at + 24);
    data.copy(bytes, at + 28);
    bytes.writeUInt32LE(length, at + length - 4);
    at += length;
  }
  return bytes;
}
