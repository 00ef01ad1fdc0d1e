/** What a NIC's driver does for the kernel (segmentation, checksums, …), by ethtool(8)'s names of features. Pure but for the reader. */
import { HostError, InvalidInputError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import type { Step } from '../step.ts';

/** ethtool's short names, where `ethtool -k` has a long one. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  rx: 'rx-checksumming',
  tx: 'tx-checksumming',
  sg: 'scatter-gather',
  tso: 'tcp-segmentation-offload',
  ufo: 'udp-fragmentation-offload',
  gso: 'generic-segmentation-offload',
  gro: 'generic-receive-offload',
  lro: 'large-receive-offload',
  rxvlan: 'rx-vlan-offload',
  txvlan: 'tx-vlan-offload',
  ntuple: 'ntuple-filters',
  rxhash: 'receive-hashing',
};

/** Those that stand for several come by their short names, in place of these; of a few single ones, each. */
export function shortly(features: Readonly<Record<string, string>>): string[] {
  const short = Object.entries(SHORT_NAMES).flatMap(([name, long]) => {
    return features[long] === undefined ? [] : [`${name}=${features[long]}`];
  });
  return short.length > 0 ? short : Object.entries(features).map(([name, value]) => `${name}=${value}`);
}

export interface Feature {
  readonly isOn: boolean;
  /** What was asked for: it takes effect once another feature, on which it depends, is on. */
  readonly isWanted: boolean;
  /** The driver does not let it be changed. */
  readonly isFixed: boolean;
}

/** All features by their long names, in ethtool's order. Throws HostError. */
export async function readFeatures(netnsFile: string, nic: string): Promise<Map<string, Feature>> {
  if (Bun.which('ethtool') === null) throw missingTool('ethtool');
  const output = await readToolOutput(['nsenter', `--net=${netnsFile}`, 'ethtool', '-k', nic]);
  const lines =
    output?.stdout.matchAll(/^\s*([a-z0-9_-]+): (on|off)(?: \[(fixed|requested on|requested off)\])?/gm) ?? [];
  const features = new Map(
    [...lines].map(([, name = '', value, note = '']) => {
      const isOn = value === 'on';
      return [name, { isOn, isWanted: note.startsWith('requested') ? !isOn : isOn, isFixed: note === 'fixed' }];
    }),
  );
  if (features.size > 0) return features;
  throw new HostError(`cannot read the features of ${nic}: ${output?.stderr.trim() || 'ethtool -k says nothing'}`);
}

/** By long names. Throws InvalidInputError for what the NIC does not have, or does not let be changed. */
export function resolveFeatures(
  place: string,
  wanted: ReadonlyMap<string, boolean>,
  features: ReadonlyMap<string, Feature>,
): Map<string, boolean> {
  const resolved = new Map<string, boolean>();
  for (const [word, isOn] of wanted) {
    const name = SHORT_NAMES[word] ?? word;
    const feature = features.get(name);
    if (feature === undefined) {
      const hint = 'tso, gso, gro, tx, rx, sg, or another one of ethtool -k';
      throw new InvalidInputError(`cannot use --offload ${word}: ${place} has no such feature`, { hint });
    }
    if (feature.isFixed && feature.isOn !== isOn) {
      throw new InvalidInputError(`cannot turn ${word} ${isOn ? 'on' : 'off'}: fixed in the driver of ${place}`, {
        hint: 'leave it out; ethtool -k shows which are fixed',
      });
    }
    resolved.set(name, isOn);
  }
  return resolved;
}

/** Of those that are not so yet. */
export function planFeatures(
  netns: string,
  nic: string,
  wanted: ReadonlyMap<string, boolean>,
  features: ReadonlyMap<string, Feature>,
): Step[] {
  const words = [...wanted].flatMap(([name, isOn]) => {
    const now = features.get(name);
    const isSo = now === undefined || now.isFixed || (now.isOn === isOn && now.isWanted === isOn);
    return isSo ? [] : [name, isOn ? 'on' : 'off'];
  });
  if (words.length === 0) return [];
  const argv = ['ethtool', '-K', nic, ...words];
  return [{ id: `offload ${nic}`, why: 'what the NIC does for the kernel', run: { kind: 'run', argv, netns } }];
}
