/** A tap for a virtual machine: an interface of the host's in a network, whose other end is a file that its monitor opens. Pure. */
import { hostEndMac } from '../spec/name.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import type { TapDriver } from './driver.ts';
import { ip } from './ip.ts';
import { mtuWords } from './parts.ts';

/** Id of the step that makes it. */
export function tapStepId(name: string): string {
  return `tap ${name}`;
}

/** Of whichever tap. */
export function isTapStep({ id }: Step): boolean {
  return id.startsWith(tapStepId(''));
}

/** The interface, and nothing more; it stays when the machine ends. */
export function planTapLink({ taps }: NetworkRecord, name: string): Step {
  const user = taps?.[name]?.user;
  return {
    id: tapStepId(name),
    why: 'a tap for a virtual machine; it stays when that ends',
    run: { ...ip(`tuntap add dev ${name} mode tap${user === undefined ? '' : ` user ${user}`}`), exclusive: true },
    undo: ip(`link del dev ${name}`),
    claims: [{ kind: 'link', name }],
  };
}

/** What is set on it, and that it is up: `words` in ip's words, with `why`. */
export function planTapSettings(record: NetworkRecord, name: string, alias: string, words: string, why: string): Step {
  const { mtuBytes } = record;
  return {
    id: `${tapStepId(name)} settings`,
    why,
    run: ip(
      `link set dev ${name} address ${hostEndMac(alias, 'tap', name)} ${words} alias ${alias}` +
        `${mtuWords({ mtuBytes })} addrgenmode none up`,
    ),
    endsWith: tapStepId(name),
  };
}

/** As a port of the network's bridge. */
export const portTap: TapDriver = {
  plan: (record, name, alias) => {
    const why = 'a port of the bridge; whose it is; the host needs no address on it';
    return [planTapLink(record, name), planTapSettings(record, name, alias, `master ${record.link}`, why)];
  },
};
