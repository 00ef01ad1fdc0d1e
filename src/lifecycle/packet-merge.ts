/** Packets of several sources, written in order of time: each is held for a moment, in which an earlier one may still come. */
import { writeSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { compareTime, enhancedPackets, type Packet } from '../process/pcapng.ts';

/** A tcpdump hands over what it has within a few milliseconds; on a busy machine it may have to wait for its turn. */
const HOLD_MS = 300;
const MAX_HELD_BYTES = 64 * 2 ** 20;

export class PacketMerge {
  private readonly fd: number;
  private readonly max: number;
  private held: Packet[] = [];
  private heldBytes = 0;
  private last: Packet | undefined;
  /** Written, and held. */
  count = 0;
  /** Came too late for their place. */
  late = 0;
  /** Whoever read has gone. */
  isClosed = false;

  constructor(fd: number, max = Number.POSITIVE_INFINITY) {
    this.fd = fd;
    this.max = max;
  }

  get isFull(): boolean {
    return this.count >= this.max;
  }

  add(packets: readonly Packet[]): void {
    for (const packet of packets) {
      this.held.push(packet);
      this.heldBytes += packet.data.length;
      this.count += 1;
    }
    if (this.heldBytes > MAX_HELD_BYTES) this.write(Math.ceil(this.held.length / 2));
  }

  /** Writes those that have been held for long enough. Throws HostError. */
  writeDue(): void {
    // Of more than are wanted, the first are chosen when all are there.
    if (this.isFull) return;
    const due = (Date.now() - HOLD_MS) / 1000;
    this.write(this.held.filter(({ seconds, nanoseconds }) => seconds + nanoseconds / 1e9 <= due).length);
  }

  /** Writes all that are left. Throws HostError. */
  finish(): void {
    const excess = Math.max(0, this.count - this.max);
    this.count -= excess;
    this.write(this.held.length - excess);
  }

  private write(count: number): void {
    if (count <= 0) return;
    this.held.sort(compareTime);
    const packets = this.held.splice(0, count);
    for (const packet of packets) {
      this.heldBytes -= packet.data.length;
      if (this.last !== undefined && compareTime(packet, this.last) < 0) this.late += 1;
      this.last = packet;
    }
    this.writeBytes(enhancedPackets(packets));
  }

  /** Throws HostError. */
  writeBytes(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0 && !this.isClosed) {
      try {
        rest = rest.subarray(writeSync(this.fd, rest));
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') this.isClosed = true;
        else if (code === 'EAGAIN') Bun.sleepSync(1);
        else throw new HostError(`cannot write the capture: ${message}`, { cause: error });
      }
    }
  }
}
