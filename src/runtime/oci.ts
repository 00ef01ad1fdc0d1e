/** The OCI runtimes: a bundle made of a container's spec, in minict's namespaces and cgroups. */
import { existsSync } from 'node:fs';
import { NO_DEVICES } from '../host/mounts.ts';
import { requireTool, toolPath } from '../host/tool.ts';
import { enterOciNamespaces } from '../process/oci.ts';
import { type ContainerSpec, isIsolated } from '../spec/container.ts';
import { OCI_RUNTIMES, type OciRuntime } from '../spec/oci-runtime.ts';
import type { Seccomp } from '../spec/security.ts';
import { type ContainerPaths, USERNS_DIR } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { keptFilter } from './filter-cache.ts';
import { killInit, persistPidns } from './namespaces.ts';
import { configOf, seccompOf } from './oci-config.ts';
import type { Runtime, RuntimeFacts } from './runtime.ts';

/** What a filter or a capability needs is read once, before the plan is made. */
export function loadOci(spec: ContainerSpec, runtime: OciRuntime): Runtime {
  requireTool(runtime);
  const made = {
    runtime,
    program: toolPath(runtime),
    seccomp: seccompOf(spec),
    toMount: existsSync(OCI_RUNTIMES[runtime].mount.where),
  };
  return {
    planInit: (container, paths, facts, chain) => planInit(container, paths, facts, { chain, ...made }),
  };
}

/**
 * $0: the init group's file, $1: the bundle, in which an earlier one's state may be left, $2: where its filter is to be kept,
 * then what leads to the runtime, this and its options. What it says is in its log, as it is or as logfmt; what those that lead to it say is elsewhere.
 */
const START = `
echo 0 >"$0" || exit 1
bundle=$1 kept=$2
shift 2
alone() {
  other=
  while read -r pid; do [ "$pid" = $$ ] || other=$pid; done <"\${0%/*}/cgroup.procs"
  [ -z "$other" ]
}
[ ! -e "$bundle/state" ] || rm -rf -- "$bundle/state" || exit 1
: >"$bundle/log" || exit 1
"$@" --root "$bundle/state" --log "$bundle/log" run --detach --bundle "$bundle" main </dev/null >/dev/null 2>"$bundle/said" || {
  [ -s "$bundle/log" ] || cat "$bundle/said" >&2
  while read -r line; do
    case $line in *' msg="'*) line=\${line#* msg=\\"} line=\${line%\\"} ;; esac
    printf '%s\\n' "$line" >&2
  done <"$bundle/log"
  # What it forked may be there for a moment, and would keep the group.
  tries=1000
  until alone || [ "$tries" -eq 0 ]; do kill -s KILL "$other"; sleep 0.01; tries=$((tries - 1)); done 2>/dev/null
  exit 1
}
[ -z "$kept" ] || [ -e "$kept" ] || { cp "$bundle/state/main/seccomp.bpf" "$bundle/filter" && mv "$bundle/filter" "$kept"; } 2>/dev/null || :
`;

interface Made {
  readonly chain: string;
  readonly runtime: OciRuntime;
  readonly program: string;
  readonly seccomp: Seccomp | undefined;
  /** What the runtime needs in the mount namespace, on a host like this. */
  readonly toMount: boolean;
}

/**
 * With the flags that the mount has: an overlay of minict's has none but ro. A directory in place is none yet, and what is mounted
 * in it comes along.
 */
function noDevices(
  { inPlace, readOnly, storage = 'overlay' }: ContainerSpec,
  { mntns }: ContainerPaths,
  { rootfs }: RuntimeFacts,
): Step['run'] {
  if (inPlace === undefined && storage === 'overlay') {
    const options = readOnly ? `${NO_DEVICES},ro` : NO_DEVICES;
    return { kind: 'mount', source: 'none', target: rootfs, fstype: 'none', options, mntns };
  }
  const first = inPlace !== undefined && !readOnly ? 'mount --rbind "$0" "$0" && ' : '';
  const options = readOnly ? `${NO_DEVICES},ro` : NO_DEVICES;
  return { kind: 'run', argv: ['sh', '-c', `${first}exec mount -o ${options} "$0"`, rootfs], mntns };
}

/** The folders above a root are root's on the host, whom nobody is inside. */
function planOpenRoot(
  { openRoot, mntns }: ContainerPaths,
  { rootfs }: RuntimeFacts,
  step: (id: string, why: string, run: Step['run']) => Step,
): Step[] {
  const bind = ['mount', '--rbind', rootfs, openRoot];
  return [
    {
      ...step('open folder', 'for its root', { kind: 'mkdir', path: openRoot, mode: 0o755, parents: true }),
      undo: { kind: 'rmdir', path: openRoot },
    },
    { ...step('open root', 'its root where any user may go', { kind: 'run', argv: bind, mntns }), endsWith: 'mntns' },
  ];
}

function planInit(
  spec: ContainerSpec,
  paths: ContainerPaths,
  facts: RuntimeFacts,
  { chain, runtime, program, seccomp, toMount }: Made,
): Step[] {
  const { cgroup } = facts;
  const bundle = paths.oci;
  const { timens, ...files } = paths;
  const hasTime = isIsolated(spec, 'timens');
  const enter = ['nsenter', ...enterOciNamespaces(hasTime ? { ...files, timens } : files)];
  const step = (id: string, why: string, run: Step['run']): Step => ({ id, why, chain, run });
  const { options, mount, keepsFilter, sealed } = OCI_RUNTIMES[runtime];
  const { why, where: target, ...what } = mount;
  const kept = keepsFilter && seccomp !== undefined ? keptFilter(seccomp, program, paths) : undefined;
  return [
    ...(spec.profile === 'hardened'
      ? [step('nodev', 'no device of the image can be opened', noDevices(spec, paths, facts))]
      : []),
    step('bundle folder', `what ${runtime} has to know`, { kind: 'mkdir', path: bundle, mode: 0o700, parents: true }),
    step('bundle', 'the container as an OCI bundle', {
      kind: 'write',
      path: `${bundle}/config.json`,
      content: `${JSON.stringify(configOf(spec, paths, facts, { seccomp, compiled: kept?.data }), null, 1)}\n`,
    }),
    ...(spec.userns === undefined ? [] : planOpenRoot(paths, facts, step)),
    ...(toMount
      ? [
          {
            ...step('mount cgroups', why, { kind: 'mount', target, ...what, mntns: paths.mntns }),
            endsWith: 'mntns',
          },
        ]
      : []),
    {
      ...step('init', `PID 1, in all namespaces, by ${runtime}`, {
        kind: 'run',
        argv: ['sh', '-c', START, cgroup.enterInit, bundle, kept?.path ?? '', ...enter, program, ...options],
        does: {
          what: 'run oci',
          enter: cgroup.enterInit,
          bundle,
          ...(kept === undefined ? {} : { kept: kept.path }),
          namespaces: [
            paths.cgroupns,
            paths.ipcns,
            paths.utsns,
            paths.netns,
            ...(hasTime ? [timens] : []),
            paths.mntns,
          ],
          argv: [program, ...options],
          sealed,
        },
      }),
      after: ['netns'],
      undo: killInit(cgroup),
      claims: [{ kind: 'init', name: cgroup.init }],
      leaves: true,
    },
    ...persistPidns(paths, cgroup, chain),
    ...(spec.userns === undefined
      ? []
      : [
          {
            ...step('userns trim', 'no namespace pins another', {
              kind: 'umount',
              targets: [USERNS_DIR],
              lazy: true,
              mntns: paths.mntns,
            }),
            endsWith: 'mntns',
          },
        ]),
  ];
}
