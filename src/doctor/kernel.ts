/** What the kernel can do. Interfaces are tried in a network namespace that ends with the attempt. */
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { firstLine } from '../errors.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { hasNetem } from '../network/impairment.ts';
import { atLeast, type Check, fail, isRoot, notTried, pass, warn } from './check.ts';

export function checkKernel(): Check {
  return atLeast(release(), [5, 10])
    ? pass('kernel', release())
    : fail('kernel', `${release()} is older than 5.10`, 'boot a newer kernel');
}

export function checkNamespaces(): Check {
  const missing = ['net', 'uts', 'mnt'].filter((kind) => !existsSync(`/proc/self/ns/${kind}`));
  if (missing.length === 0) return pass('namespaces', 'net uts mnt');
  const fix = 'boot a kernel with CONFIG_NET_NS and CONFIG_UTS_NS';
  return fail('namespaces', `the kernel lacks ${missing.join(', ')}`, fix);
}

export async function checkOverlay(): Promise<Check> {
  if (/\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'))) return pass('overlayfs', 'yes');
  const dryRun = await readToolOutput(['modprobe', '--dry-run', 'overlay']);
  if (dryRun?.exitCode === 0) return pass('overlayfs', 'a module, loaded at the first mount');
  return fail('overlayfs', 'the kernel lacks it', 'use --rootfs DIR, which needs no overlay');
}

export async function checkLink(kind: string, words: readonly string[]): Promise<Check> {
  if (!isRoot()) return notTried(kind);
  const output = await readToolOutput(['unshare', '--net', 'ip', 'link', 'add', 'name', 'a', ...words]);
  if (output === undefined) return fail(kind, 'not tried: unshare not found in PATH', 'apt-get install util-linux');
  return output.exitCode === 0 ? pass(kind, 'yes') : fail(kind, firstLine(output.stderr), `modprobe ${kind}`);
}

export async function checkNetem(): Promise<Check> {
  if (!isRoot()) return notTried('netem');
  if (Bun.which('tc') === null) return warn('netem', 'not tried: tc not found in PATH', 'apt-get install iproute2');
  if (await hasNetem()) return pass('netem', 'yes');
  const detail = 'the kernel lacks it: no delays by minict net impair; rates and loss work';
  const fix = 'boot a kernel with CONFIG_NET_SCH_NETEM; Ubuntu: apt-get install "linux-modules-extra-$(uname -r)"';
  return warn('netem', detail, fix);
}
