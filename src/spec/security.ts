/** What a program may do beside what its user may: capabilities(7), seccomp(2), no_new_privs. Pure. */
import { InvalidInputError } from '../errors.ts';
import type { ContainerSpec } from './container.ts';

/** By number, as in linux/capability.h. */
const CAPABILITIES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ...['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
];

/** Docker's, but MKNOD: with docker a cgroup decides which devices can be opened. */
const DEFAULT = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
];

/** Those that systemd-nspawn keeps, with those of a network of its own (systemd-nspawn(1), --capability=). */
const OF_NSPAWN = [
  ...['AUDIT_CONTROL', 'AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'IPC_OWNER'],
  ...['KILL', 'LEASE', 'LINUX_IMMUTABLE', 'MKNOD', 'NET_ADMIN', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_RAW'],
  ...['SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_CHROOT', 'SYS_NICE', 'SYS_PTRACE'],
  ...['SYS_RESOURCE', 'SYS_TTY_CONFIG'],
];

/** All others, as setpriv(1) drops them. */
export function droppedByNspawn(): string {
  return CAPABILITIES.filter((name) => !OF_NSPAWN.includes(name))
    .map((name) => `-${name.toLowerCase()}`)
    .join(',');
}

/** `CAP_NET_ADMIN`, `net_admin`, or `ALL`, as `NET_ADMIN`. Throws InvalidInputError. */
export function parseCapability(word: string): string {
  const name = word.toUpperCase().replace(/^CAP_/, '');
  if (name === 'ALL' || CAPABILITIES.includes(name)) return name;
  throw new InvalidInputError(`cannot use capability '${word}': there is none of that name`, {
    hint: 'capabilities(7) has their names: NET_ADMIN, SYS_PTRACE, …; or ALL',
  });
}

type Privileges = Pick<ContainerSpec, 'profile' | 'capAdd' | 'capDrop'>;

/** Those that its programs have, of `held`, a mask of proc(5): nobody can give what he has not. */
export function capabilitiesOf({ profile, capAdd = [], capDrop = [] }: Privileges, held: bigint): string[] {
  const begin = profile === undefined || capAdd.includes('ALL') ? CAPABILITIES : DEFAULT;
  const kept = capDrop.includes('ALL') ? [] : begin.filter((name) => !capDrop.includes(name));
  return CAPABILITIES.filter((name) => (kept.includes(name) || capAdd.includes(name)) && isHeld(name, held)).map(
    (name) => `CAP_${name}`,
  );
}

/** Whether `held` has a capability; of ALL it has what there is. */
export function isHeld(name: string, held: bigint): boolean {
  return name === 'ALL' || ((held >> BigInt(CAPABILITIES.indexOf(name))) & 1n) === 1n;
}

/** A seccomp filter as the OCI runtime specification has it (config-linux.md). */
export interface Seccomp {
  readonly defaultAction: string;
  readonly syscalls?: readonly object[];
}

/** Its text, checked. `what` as in `cannot use <what>: …`. Throws InvalidInputError. */
export function parseSeccomp(text: string, what: string): Seccomp {
  const refuse = (cause: string) =>
    new InvalidInputError(`cannot use ${what}: ${cause}`, {
      hint: 'a seccomp filter of the OCI runtime specification, in JSON',
    });
  let value: { defaultAction?: unknown; syscalls?: unknown } | null;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('it is no JSON');
  }
  const { defaultAction, syscalls = [] } = value ?? {};
  if (typeof defaultAction !== 'string' || !/^SCMP_ACT_[A-Z_]+$/.test(defaultAction))
    throw refuse('it has no defaultAction');
  if (!Array.isArray(syscalls) || !syscalls.every(isRule))
    throw refuse('its syscalls are no list of names and actions');
  return value as Seccomp;
}

function isRule(rule: { names?: unknown; action?: unknown } | null): boolean {
  const names = rule?.names;
  return (
    Array.isArray(names) && names.every((name) => typeof name === 'string') && /^SCMP_ACT_/.test(String(rule?.action))
  );
}
