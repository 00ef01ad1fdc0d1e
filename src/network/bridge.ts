/** The bridge driver: a Linux bridge on the host, minict's or another's, and for each NIC a veth pair into it. */
import { parseSubnet } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { derivedMac } from '../spec/name.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import type { NetworkDriver, NicDriver, Owner } from './driver.ts';
import { ip } from './ip.ts';
import { aliasWord, hasIpv6Settings, linkStepId, mtuWords, netChain, nicPart, nicStep } from './parts.ts';

type VethNic = Extract<NicSpec, { kind: 'veth' }>;

async function validate({ link, foreign, uplink }: NetworkRecord): Promise<void> {
  if (!foreign && uplink === undefined) return;
  // Loaded where it is wanted, with its schema library.
  const { requireBridge, requireSpareLink } = await import('../host/interfaces.ts');
  if (foreign) await requireBridge(link);
  if (uplink !== undefined) await requireSpareLink(uplink.link, link);
}

function planNetwork(
  { link, foreign, mac, mtuBytes, internal, subnets, uplink }: NetworkRecord,
  alias: string,
): Step[] {
  if (foreign) return [];
  const step = (id: string, why: string, words: string): Step => ({ id, why, run: ip(words), endsWith: 'link' });
  const mtu = mtuWords({ mtuBytes });
  return [
    {
      id: 'link',
      why: 'the Linux bridge that joins the containers; its MAC is fixed, or it would follow the lowest port',
      run: { ...ip(`link add name ${link} address ${mac}${mtu} type bridge`), exclusive: true },
      undo: ip(`link del dev ${link}`),
      claims: [{ kind: 'link', name: link }],
    },
    step('alias', 'whose it is', `link set dev ${link} alias ${alias}`),
    ...subnets.flatMap(({ subnet, gateway }) => {
      if (gateway === undefined || internal) return [];
      const rest = gateway.includes(':') ? 'nodad' : 'brd +';
      const words = `addr add ${gateway}/${parseSubnet(subnet).prefix} ${rest} dev ${link}`;
      return [step(`address ${gateway}`, "the containers' gateway", words)];
    }),
    ...(uplink === undefined ? [] : planUplink(uplink, link)),
    step('up', 'bridge up', `link set dev ${link} up`),
  ];
}

/** Given back as it was; its own settings stay as they are. */
function planUplink({ link, wasUp }: NonNullable<NetworkRecord['uplink']>, bridge: string): Step[] {
  const claims = [{ kind: 'link', name: link }] as const;
  return [
    {
      id: 'uplink',
      why: "the host's interface becomes a port: the network goes on where its cable leads",
      run: ip(`link set dev ${link} master ${bridge}`),
      undo: ip(`link set dev ${link} nomaster`),
      claims,
    },
    ...(wasUp
      ? []
      : [
          {
            id: 'uplink up',
            why: 'it was down',
            run: ip(`link set dev ${link} up`),
            undo: ip(`link set dev ${link} down`),
            claims,
          },
        ]),
  ];
}

function planNic(nic: VethNic, { container, instance }: Owner): Step[] {
  const { name, hostLink, bridge, mac } = nic;
  const mtu = mtuWords(nic);
  const hostMac = derivedMac(instance, container, `${name}/host`);
  const noIpv6 = hasIpv6Settings(nic) ? ' addrgenmode none' : '';
  return [
    {
      id: linkStepId(nic),
      why: 'a veth pair: one end on the host, its peer inside the container',
      chain: netChain(container),
      part: nicPart(nic),
      run: ip(
        `link add name ${hostLink} address ${hostMac}${mtu} type veth ` +
          `peer name ${name} address ${mac}${mtu} netns ${container}`,
      ),
      undo: ip(`link del dev ${hostLink}`),
      claims: [{ kind: 'link', name: hostLink }],
      // Deleting the namespace deletes the pair in bulk; `ip link del` costs 16 to 28 ms each.
      endsWith: 'netns',
    },
    nicStep(
      nic,
      container,
      'port',
      'a port of the bridge; whose it is; it needs no IPv6 address',
      `link set dev ${hostLink} master ${bridge} alias ${aliasWord(instance, container, name)}${noIpv6}`,
    ),
    planHostEnd(nic, hostLink, container),
  ];
}

/** stop takes the host end down, so that neighbours see carrier loss; start takes it up again. */
export function planHostEnd(nic: NicSpec, hostLink: string, container: string): Step {
  return {
    ...nicStep(nic, container, 'port up', 'host end up', `link set dev ${hostLink} up`),
    part: `port ${nic.name}`,
    undo: ip(`link set dev ${hostLink} down`),
  };
}

export const bridgeDriver: NetworkDriver & NicDriver<VethNic> = { validate, planNetwork, planNic };
