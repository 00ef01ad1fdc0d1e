/**
 * What Open vSwitch's database says of its bridges and ports, and of whom they are: by `external_ids:minict`. The daemons
 * are found as ovs-vsctl finds them (OVS_RUNDIR, /run/openvswitch). Reads only.
 */
import { HostError } from '../errors.ts';
import { missingTool } from './tool.ts';
import { readToolOutput } from './tool-output.ts';

/** Of external_ids: with whose it is as its value. */
export const OWNER_KEY = 'minict';

export interface OvsPort {
  readonly name: string;
  /** Empty where it is nobody's of minict. */
  readonly owner: string;
}

export interface OvsBridge {
  readonly owner: string;
  readonly ports: readonly OvsPort[];
}

/** What a row says of a column, in OVSDB's own JSON (RFC 7047, section 5.1). */
type Value = string | readonly [string, unknown];

function ownerOf([, pairs]: readonly [string, unknown]): string {
  return (pairs as [string, string][]).find(([key]) => key === OWNER_KEY)?.[1] ?? '';
}

/** One uuid stands alone. */
function uuidsOf([type, value]: readonly [string, unknown]): string[] {
  return type === 'uuid' ? [value as string] : (value as [string, string][]).map(([, uuid]) => uuid);
}

function rowsOf(line: string): Value[][] {
  return (JSON.parse(line) as { data: Value[][] }).data;
}

/** Bridges by name. Throws HostError where Open vSwitch is not there, or does not answer. */
export async function readOvs(): Promise<ReadonlyMap<string, OvsBridge>> {
  const bridges = ['--columns=name,external_ids,ports', 'list', 'Bridge'];
  const ports = ['--columns=_uuid,name,external_ids', 'list', 'Port'];
  const output = await readToolOutput([
    'ovs-vsctl',
    '--no-wait',
    '--timeout=5',
    '--format=json',
    '--',
    ...bridges,
    '--',
    ...ports,
  ]);
  if (output === undefined) throw missingTool('ovs-vsctl');
  if (output.exitCode !== 0) throw notRunning(output.stderr);
  const [first = '', second = ''] = output.stdout.split('\n');
  const portOf = new Map(
    rowsOf(second).map(([uuid, name, ids]) => [
      uuidsOf(uuid as [string, unknown])[0],
      { name: name as string, owner: ownerOf(ids as [string, unknown]) },
    ]),
  );
  return new Map(
    rowsOf(first).map(([name, ids, uuids]) => [
      name as string,
      {
        owner: ownerOf(ids as [string, unknown]),
        ports: uuidsOf(uuids as [string, unknown]).flatMap((uuid) => portOf.get(uuid) ?? []),
      },
    ]),
  );
}

/** The last line is the error; those before it are a log. */
function notRunning(stderr: string): HostError {
  const line = stderr
    .trim()
    .split('\n')
    .at(-1)
    ?.replace(/^ovs-\w+: /, '');
  return new HostError(`cannot use Open vSwitch: ${line || 'it does not answer'}`, {
    hint: 'apt-get install openvswitch-switch; service openvswitch-switch start; OVS_RUNDIR where it runs elsewhere',
  });
}

/** The database takes what nobody would carry out while ovs-vswitchd does not run. Throws HostError. */
export async function requireVswitchd(): Promise<void> {
  const output = await readToolOutput(['ovs-appctl', '--timeout=5', '-t', 'ovs-vswitchd', 'version']);
  if (output === undefined) throw missingTool('ovs-appctl');
  if (output.exitCode !== 0) throw notRunning(output.stderr);
}

/** Throws HostError: add-br would succeed, and log that it did not work. */
export async function requireKernelDatapath(): Promise<void> {
  const output = await readToolOutput(['ovs-dpctl', '--timeout=5', 'dump-dps']);
  if (output === undefined) throw missingTool('ovs-dpctl');
  if (output.exitCode === 0) return;
  throw new HostError('cannot use Open vSwitch: the kernel has no datapath of it', {
    hint: 'modprobe openvswitch; or -o datapath_type=netdev',
  });
}

/**
 * `uuid` of a claim `TABLE NAME OWNER`; undefined where there is no such row of that owner, and where Open vSwitch is not
 * installed any more. Throws HostError where it does not answer.
 */
export function findOvsRow(claim: string): string | undefined {
  const [table = '', name = '', owner = ''] = claim.split(' ');
  if (Bun.which('ovs-vsctl') === null) return undefined;
  const words = ['--bare', '--columns=_uuid', 'find', table, `name=${quoted(name)}`, ownerWord(owner)];
  const argv = ['ovs-vsctl', '--no-wait', '--timeout=5', ...words];
  const found = Bun.spawnSync(argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
  if (found.exitCode !== 0) throw notRunning(found.stderr.toString());
  return found.stdout.toString().trim() || undefined;
}

/** A string as ovs-vsctl reads it. */
export function quoted(text: string): string {
  return `"${text}"`;
}

/** As a condition, and as what a row is given. */
export function ownerWord(owner: string): string {
  return `external_ids:${OWNER_KEY}=${quoted(owner)}`;
}
