/**
 * Docker's list of system calls, made of that of Debian's golang-github-containers-common: its entries hold for some
 * capabilities and architectures only, and it leaves out some of docker's refusals. Pure.
 */
import type { Seccomp } from '../spec/security.ts';

export const SECCOMP_FILE = '/usr/share/containers/seccomp.json';

interface Condition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
}

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly object[] | null;
  readonly errnoRet?: number;
  readonly includes?: Condition;
  readonly excludes?: Condition;
}

interface ListFile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures?: readonly string[] }[];
  readonly syscalls: readonly Rule[];
}

/** By the names of node:process: those of the list, and of libseccomp. */
const MACHINES: Readonly<Record<string, { readonly go: string; readonly seccomp: string }>> = {
  x64: { go: 'amd64', seccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', seccomp: 'SCMP_ARCH_AARCH64' },
};

const KEYRINGS = ['keyctl', 'add_key', 'request_key'];
/** Mounts and namespaces: without CAP_SYS_ADMIN of use only in a user namespace, which is refused, too. */
const FOR_ADMIN = [
  ...['mount', 'umount', 'umount2', 'pivot_root', 'unshare', 'setns', 'mount_setattr', 'move_mount', 'open_tree'],
  ...['fsopen', 'fsconfig', 'fsmount', 'fspick'],
];
/** Whose flags no filter can see. The default, ENOSYS, has the C library take clone(2). */
const CLONE3 = 'clone3';
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = 0x7e020000;
const EPERM = 1;
const REFUSE = 'SCMP_ACT_ERRNO';

function applies({ includes, excludes }: Rule, caps: readonly string[], arch: string): boolean {
  const has = (list: readonly string[] | undefined) => list?.some((cap) => caps.includes(cap)) ?? false;
  if (includes?.arches !== undefined && !includes.arches.includes(arch)) return false;
  if (includes?.caps !== undefined && !includes.caps.every((cap) => caps.includes(cap))) return false;
  return !has(excludes?.caps) && !(excludes?.arches?.includes(arch) ?? false);
}

/** `file` is the list's text. */
export function dockerSeccomp(file: string, caps: readonly string[], arch: string): Seccomp {
  const { defaultAction, defaultErrnoRet, archMap = [], syscalls } = JSON.parse(file) as ListFile;
  const machine = MACHINES[arch] ?? { go: arch, seccomp: '' };
  const isAdmin = caps.includes('CAP_SYS_ADMIN');
  const refused = [...KEYRINGS, ...(isAdmin ? [] : FOR_ADMIN)];
  const special = isAdmin ? KEYRINGS : [...refused, 'clone', CLONE3];
  const rules = syscalls
    .filter((rule) => applies(rule, caps, machine.go))
    .map(({ names, action, args, errnoRet }) => ({
      names: names.filter((name) => !special.includes(name)),
      action,
      ...(args?.length ? { args } : {}),
      ...(errnoRet === undefined ? {} : { errnoRet }),
    }))
    .filter(({ names }) => names.length > 0);
  const clone = { index: 0, value: NEW_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' };
  const map = archMap.find(({ architecture }) => architecture === machine.seccomp);
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(map === undefined ? {} : { architectures: [map.architecture, ...(map.subArchitectures ?? [])] }),
    syscalls: [
      ...rules,
      { names: refused, action: REFUSE, errnoRet: EPERM },
      ...(isAdmin ? [] : [{ names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [clone] }]),
    ],
  } as Seccomp;
}
