/**
 * What really happens to a packet: a connection, a datagram or a ping out of a namespace, by tools that a host has (bash's
 * own sockets; ping of iputils or busybox). Each ends after PROBE_SECONDS.
 */
import type { Family } from '../../spec/address.ts';
import { type Inside, sendInside } from './run.ts';

/** A neighbour that does not answer is given up by the kernel after three. */
const PROBE_SECONDS = 4;
const PINGS = 3;
/** timeout(1) */
const TIMED_OUT = 124;

export type Outcome =
  | 'answered'
  /** Nobody answered, and nobody refused. */
  | 'silent'
  | 'refused'
  /** EHOSTUNREACH: no neighbour, or a router said so. */
  | 'host unreachable'
  | 'network unreachable'
  /** EPERM, EACCES: a rule on the way out. */
  | 'forbidden'
  /** The tool is missing, or says what minict does not know. */
  | 'unknown';

const REASONS: readonly (readonly [RegExp, Outcome])[] = [
  [/connection refused/i, 'refused'],
  [/no route to host/i, 'host unreachable'],
  [/network is unreachable/i, 'network unreachable'],
  [/operation not permitted|permission denied/i, 'forbidden'],
  [/timed out/i, 'silent'],
];

function reasonIn(stderr: string): Outcome | undefined {
  return REASONS.find(([pattern]) => pattern.test(stderr))?.[1];
}

/** Of bash, with the address and the port as `$0` and `$1`. */
const CONNECT = 'exec 3<>"/dev/tcp/$0/$1"';
const DATAGRAM = `exec 3<>"/dev/udp/$0/$1" && printf '\\n' >&3 && { read -t 1 -n 1 -u 3; [ $? -gt 128 ] && exit 3 || exit 0; }`;

/** Connects, and closes at once. */
export async function probeTcp(inside: Inside, ip: string, port: number): Promise<Outcome> {
  const argv = ['timeout', String(PROBE_SECONDS), 'bash', '-c', CONNECT, ip, String(port)];
  const { exitCode, stderr } = await sendInside(inside, argv);
  if (exitCode === 0) return 'answered';
  return exitCode === TIMED_OUT ? 'silent' : (reasonIn(stderr) ?? 'unknown');
}

/** Sends a datagram of one byte, and waits for a second: for an answer, or for ICMP to say that nobody listens. */
export async function probeUdp(inside: Inside, ip: string, port: number): Promise<Outcome> {
  const argv = ['timeout', String(PROBE_SECONDS), 'bash', '-c', DATAGRAM, ip, String(port)];
  const { exitCode, stderr } = await sendInside(inside, argv);
  return reasonIn(stderr) ?? (exitCode === 0 ? 'answered' : 'silent');
}

/**
 * `tool` is the words of a ping: iputils' or busybox's, which set DF on what is no larger than the known path MTU. The first
 * may be lost with a neighbour that the kernel is just giving up.
 */
export async function probePing(
  inside: Inside,
  tool: readonly string[],
  { family, ip, payloadBytes }: { readonly family: Family; readonly ip: string; readonly payloadBytes: number },
): Promise<Outcome> {
  const words = [...tool, `-${family}`, '-c', '1', '-W', '1', '-s', String(payloadBytes), ip];
  let outcome: Outcome = 'unknown';
  for (let tries = 0; tries < PINGS && outcome !== 'answered'; tries += 1) {
    const { exitCode, stdout, stderr } = await sendInside(inside, words);
    if (exitCode === 0) outcome = 'answered';
    else outcome = reasonIn(stderr) ?? (/unreachable/i.test(stdout) ? 'host unreachable' : 'silent');
  }
  return outcome;
}
