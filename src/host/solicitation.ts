/**
 * Duplicate address detection of IPv6 (RFC 4862, 5.4) for an address that the host itself is not to have: a Neighbour
 * Solicitation from nobody, which changes no neighbour's tables, and who answers it.
 */
import { parseIp } from '../spec/address.ts';
import { openPacketSocket } from './packet-socket.ts';

const ETH_P_IPV6 = 0x86dd;
const ICMPV6 = 58;
/** A router would have taken one away: who is not on the link cannot answer. */
const HOP_LIMIT = 255;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const HEADER_BYTES = 40;
const MESSAGE_BYTES = 24;
const NOBODY = Buffer.alloc(16);
const ALL_NODES = bytesOf('ff02::1');

/** RetransTimer: so long an answer may take. */
const WAIT_MS = 1000;
const POLL_MS = 10;

function bytesOf(address: string): Buffer {
  return Buffer.from(parseIp(address).value.toString(16).padStart(32, '0'), 'hex');
}

/** The group in which who has the address listens. */
function solicitedNode(target: Buffer): Buffer {
  return Buffer.concat([bytesOf('ff02::1:ff00:0').subarray(0, 13), target.subarray(13)]);
}

/** Of a group (RFC 2464, 7). */
function ethernetGroup(group: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x33, 0x33]), group.subarray(12)]);
}

/** Of the Internet (RFC 1071). */
function checksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function solicitation(target: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = 6 << 4;
  header.writeUInt16BE(MESSAGE_BYTES, 4);
  header[6] = ICMPV6;
  header[7] = HOP_LIMIT;
  header.set(solicitedNode(target), 24);
  const message = Buffer.alloc(MESSAGE_BYTES);
  message[0] = SOLICITATION;
  message.set(target, 8);
  // The pseudo-header: addresses, length, next header (RFC 8200, 8.1).
  const rest = Buffer.from([0, 0, 0, MESSAGE_BYTES, 0, 0, 0, ICMPV6]);
  message.writeUInt16BE(checksum(Buffer.concat([header.subarray(8), rest, message])), 2);
  return Buffer.concat([header, message]);
}

/** Whether who sent it has the address, or is about to take it. */
function claims(packet: Buffer, target: Buffer): boolean {
  if (packet.length < HEADER_BYTES + MESSAGE_BYTES || packet[6] !== ICMPV6 || packet[7] !== HOP_LIMIT) return false;
  const isProbe = packet[HEADER_BYTES] === SOLICITATION && packet.subarray(8, 24).equals(NOBODY);
  if (!isProbe && packet[HEADER_BYTES] !== ADVERTISEMENT) return false;
  return packet.subarray(HEADER_BYTES + 8, HEADER_BYTES + MESSAGE_BYTES).equals(target);
}

/** The MAC address of who has it; undefined where nobody answers within a second. Throws HostError. */
export async function solicit(link: string, address: string): Promise<string | undefined> {
  const target = bytesOf(address);
  const group = ethernetGroup(solicitedNode(target));
  const socket = openPacketSocket(link, ETH_P_IPV6, [ethernetGroup(ALL_NODES), group]);
  try {
    socket.send(solicitation(target), group);
    for (const end = performance.now() + WAIT_MS; performance.now() < end; await Bun.sleep(POLL_MS)) {
      for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
        if (claims(got.packet, target)) return got.mac.toString('hex').replace(/..(?!$)/g, '$&:');
      }
    }
    return undefined;
  } finally {
    socket.close();
  }
}
