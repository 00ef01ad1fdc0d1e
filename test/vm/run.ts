/**
 * Runs tests in a Debian guest under qemu, where systemd is PID 1 and cgroup v2 the only one: those of the end-to-end tests
 * that vitest.config.ts here names, and this folder's own, over two reboots. Words go to Vitest, and then these tests alone
 * run. The last line is "N passed, N failed". Not part of `npm test`: qemu runs without hardware help, ten times as slow.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemDisk, treeDisk } from './disks.ts';

/** Of all that runs in the guest, in minutes. */
const LONGEST = Number(process.env.MINICT_VM_MINUTES ?? 30);

const words = process.argv.slice(2);
const system = systemDisk();
const dir = mkdtempSync(join(tmpdir(), 'minict-vm-'));
const console_ = join(dir, 'console');
treeDisk(join(dir, 'tree'), words);

const disk = (path: string) => ['-drive', `file=${path},format=raw,if=virtio,snapshot=on,cache=unsafe`];
const machine = ['-M', 'pc', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048', '-nodefaults'];
const boot = ['-kernel', join(system, 'vmlinuz'), '-initrd', join(system, 'initrd'), '-append'];
const guest = Bun.spawn(
  [
    ...['qemu-system-x86_64', ...machine, '-display', 'none'],
    ...boot,
    'console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=1',
    ...disk(join(system, 'disk')),
    ...disk(join(dir, 'tree')),
    ...['-chardev', `file,id=console,path=${console_}`, '-serial', 'chardev:console'],
    ...['-chardev', 'stdio,id=tests,signal=off', '-serial', 'chardev:tests'],
  ],
  { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: dir } },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => guest.kill('SIGKILL'));
let isLate = false;
const watchdog = setTimeout(() => {
  isLate = true;
  guest.kill('SIGKILL');
}, LONGEST * 60_000);

let said = '';
const decoder = new TextDecoder();
for await (const chunk of guest.stdout) {
  const text = decoder.decode(chunk, { stream: true }).replaceAll('\r', '');
  said += text;
  process.stdout.write(text);
}
await guest.exited;
clearTimeout(watchdog);

const total = (word: string) =>
  [...said.matchAll(/^ *Tests .*$/gm)].reduce(
    (sum, [line]) => sum + Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0),
    0,
  );
const passed = total('passed');
let failed = total('failed');
const complain = (what: string) => {
  failed += 1;
  console.log(`vm: ${what}`);
};
const ends = [...said.matchAll(/^vm: boot \d ended with (\d+)$/gm)].map(([, status]) => Number(status));
if (isLate) complain(`ended by force after ${LONGEST} minutes`);
if (!/^vm: done$/m.test(said)) {
  complain('the guest did not get to its end; its console said last:');
  console.log(readFileSync(console_, 'utf8').split('\n').slice(-40).join('\n'));
} else if (failed === 0 && ends.some((status) => status !== 0)) complain('a run of Vitest failed');
rmSync(dir, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
