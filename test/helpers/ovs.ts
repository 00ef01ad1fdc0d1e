/** Open vSwitch's daemons in a throwaway host, where ovs-vsctl looks for them; this kernel may lack their datapath. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { eventually, type Host } from './host.ts';

const RUN = '/run/openvswitch';
const ENV = { OVS_RUNDIR: RUN, OVS_DBDIR: RUN, OVS_SYSCONFDIR: RUN };

/** Not below /run, of which snapshots are taken: the daemons write into it at any time. */
const logFile = (host: Host, daemon: string) => `--log-file=${join(host.dir, `${daemon}.log`)}`;

function must(host: Host, ...argv: string[]): void {
  expect(host.run(argv, ENV), argv.join(' ')).toMatchObject({ status: 0 });
}

/** Its database outlasts a reboot, as that in /etc does. */
export function startOvsdb(host: Host): void {
  const database = join(host.dir, 'ovs.db');
  must(host, 'mkdir', '-p', RUN);
  const create = 'test -e "$0" || ovsdb-tool create "$0" /usr/share/openvswitch/vswitch.ovsschema';
  must(host, 'sh', '-c', create, database);
  must(
    host,
    'ovsdb-server',
    database,
    `--remote=punix:${RUN}/db.sock`,
    '--pidfile',
    logFile(host, 'ovsdb-server'),
    '--detach',
  );
  must(host, 'ovs-vsctl', '--no-wait', 'init');
}

export function startVswitchd(host: Host): void {
  must(host, 'ovs-vswitchd', '--pidfile', logFile(host, 'ovs-vswitchd'), '--detach');
}

async function stop(host: Host, daemon: string, ...how: string[]): Promise<void> {
  host.run(['ovs-appctl', '-t', daemon, 'exit', ...how], ENV);
  const hasEnded = () => host.run(['test', '-e', `${RUN}/${daemon}.pid`]).status !== 0;
  expect(await eventually(hasEnded), daemon).toBe(true);
}

/** Its interfaces stay, as with a restart. */
export async function stopVswitchd(host: Host): Promise<void> {
  await stop(host, 'ovs-vswitchd');
}

/** What runs of it, with what it has made in the kernel. */
export async function stopOvs(host: Host): Promise<void> {
  await stop(host, 'ovs-vswitchd', '--cleanup');
  await stop(host, 'ovsdb-server');
}

/** Bridges and ports in its database, with whose they are. */
export function ovsRows(host: Host): string[] {
  const list = (table: string) => ['--', '--columns=name,external_ids', 'list', table];
  const { stdout } = host.run(['ovs-vsctl', '--no-wait', '--format=csv', ...list('Bridge'), ...list('Port')]);
  return stdout.split('\n').sort();
}
