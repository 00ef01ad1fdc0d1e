/** The scripts of create and run: for a container that is not there yet. */
import { join } from 'node:path';
import { ConflictError } from '../errors.ts';
import { planBase } from '../image/base.ts';
import { type Image, lookUpImage } from '../image/store.ts';
import { mountedOf } from '../lifecycle/attachments.ts';
import { readFacts } from '../lifecycle/container-facts.ts';
import type { Context } from '../lifecycle/context.ts';
import { refuseForeign } from '../lifecycle/create.ts';
import { createLines, instanceForScripts, programLines, uncreateLines } from '../lifecycle/dry-run.ts';
import { assignNics } from '../lifecycle/nics.ts';
import { refuseUsedRoot } from '../lifecycle/root.ts';
import { planNamedVolumes } from '../lifecycle/volumes.ts';
import { loadRuntime } from '../runtime/runtime.ts';
import { parsePublishes } from '../spec/port.ts';
import { requireRouting } from '../spec/routing.ts';
import { requireHostGateway } from '../state/hosts.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import { findContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type ContainerOptions, specFrom, type Words } from './container-options.ts';
import { requestsFrom } from './nic-options.ts';

/** `main`: what becomes of the main command; undefined for create, which does not run it. */
export async function planScript(
  wanted: 'run' | 'undo',
  context: Context,
  name: string,
  opts: ContainerOptions,
  command: Words,
  main: 'attached' | 'detached' | undefined,
): Promise<string> {
  const instance = instanceForScripts(context);
  const paths = containerPaths(context.roots, name);
  if ((await findContainer(context.roots, name)) !== undefined) {
    throw new ConflictError(`cannot create ${name}: a container of that name is there`, {
      hint: `minict start ${name}; or minict rm ${name}, for another one`,
    });
  }
  // The way back may be wanted when the script has run.
  if (wanted === 'run') refuseForeign(paths, name);
  let image: Step[] = [];
  const resolve = async (roots: Roots, ref: string): Promise<Image> => {
    const found = await lookUpImage(roots, ref);
    if (!('make' in found)) return found;
    if (found.name !== 'base') {
      throw new ConflictError(`cannot print the plan of ${name}: image ${ref} is not imported yet`, {
        hint: `minict image import ${ref} ${found.name}`,
      });
    }
    // In the container's own folder: a script makes no image that minict would know.
    const rootfs = join(paths.dir, 'base');
    image = planBase(rootfs);
    return { name: 'base', layers: [rootfs], settings: {} };
  };
  const plain = await specFrom(context, name, opts, command, resolve);
  await refuseUsedRoot(context, plain);
  const { nics, networks } = await assignNics(context, instance, plain, requestsFrom(opts));
  requireRouting(plain, nics);
  requireHostGateway(plain.extraHosts, networks);
  const publish = parsePublishes(opts.publish);
  const { assignPorts } = await import('../lifecycle/ports.ts');
  const ports =
    publish.length === 0 ? {} : { ports: await assignPorts(context, { name, nics: [...nics] }, networks, publish) };
  const chosen =
    plain.userns === undefined ? plain : await (await import('../lifecycle/id-range.ts')).withChosenIds(context, plain);
  const spec = { ...chosen, nics: [...nics], ...ports };
  const facts = readFacts(context, instance, spec, networks, {
    runtime: await loadRuntime(spec),
    imageToCome: image.length > 0,
    volumesToCome: true,
  });
  if (wanted === 'undo') return uncreateLines(context, spec, networks, facts);
  const programs = main === undefined ? '' : programLines(context, spec, main, mountedOf(facts.rootfs.volumes));
  const first = [...image, ...planNamedVolumes(context, spec, facts)];
  return (await createLines(context, spec, networks, facts, first)) + programs;
}
