/** Whether a root file system has what systemd-nspawn(1) asks of one that boots, as far as that is seen before there is one. */
import { existsSync } from 'node:fs';
import { HostError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { isWithin } from '../spec/root-paths.ts';
import { resolveInRoot } from '../storage/resolve.ts';

/** One of each is enough. */
export const OS_RELEASE = ['/etc/os-release', '/usr/lib/os-release'];
const INIT = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd', '/sbin/init'];

type Root = Pick<ContainerSpec, 'name' | 'inPlace' | 'lower' | 'volumes'>;

/** What a volume may have counts as there; so does an image that is not on the disk yet. Throws HostError. */
export function requireBootable({ name, inPlace, lower = [], volumes = [] }: Root): void {
  const layers = inPlace === undefined ? lower : [inPlace];
  if (!layers.every((layer) => existsSync(layer))) return;
  const isThere = (path: string, bits: number) => {
    const found = resolveInRoot(layers, path);
    if (found === undefined) return false;
    const { stat } = found;
    return (
      (stat?.isFile() && (stat.mode & bits) === bits) || volumes.some(({ target }) => isWithin(found.path, target))
    );
  };
  const lacks = (what: string) =>
    new HostError(`cannot create ${name}: its image has no ${what}, and cannot boot`, {
      hint: 'an image with an init of its own, as images/debian-systemd, or leave out --boot',
    });
  if (!INIT.some((path) => isThere(path, 0o100))) throw lacks('init');
  if (!OS_RELEASE.some((path) => isThere(path, 0))) throw lacks('/etc/os-release');
}
