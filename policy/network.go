package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// unixNetwork is what rules call the clients of unix sockets, which have no address.
const unixNetwork = "unix"

// networks is a rule's condition on the client's address.
type networks struct {
	prefixes []netip.Prefix
	unix     bool
}

// parseNetwork reads a CIDR network or an address. Addresses of IPv4 written as IPv6 are taken as IPv4.
func parseNetwork(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return prefix, fmt.Errorf("bad network '%s': use a form such as 10.0.0.0/8, 2001:db8::/32, 10.1.2.3 or unix", text)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return prefix, fmt.Errorf("bad network '%s': it mixes IPv4 and IPv6; write the IPv4 network as 10.0.0.0/8", text)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, fmt.Errorf("bad network '%s': it has bits set beyond its length; did you mean %s?", text, masked)
	}
	return prefix, nil
}

// plainAddr returns addr as networks compare it: without zone, IPv4 as IPv4.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func (n networks) any() bool { return len(n.prefixes) == 0 && !n.unix }

// match reports whether the condition holds for an address; the zero one is a unix socket's.
func (n networks) match(addr netip.Addr) bool {
	if n.any() {
		return true
	}
	if !addr.IsValid() {
		return n.unix
	}
	addr = plainAddr(addr)
	for _, p := range n.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (n networks) covers(other networks) bool {
	if n.any() {
		return true
	}
	if other.any() || other.unix && !n.unix {
		return false
	}
	for _, inner := range other.prefixes {
		if !slices.ContainsFunc(n.prefixes, func(outer netip.Prefix) bool {
			return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
		}) {
			return false
		}
	}
	return true
}

// networkTable finds the rules whose networks hold an address: the address space cut at every border of
// every network, and a mask for each piece.
type networkTable struct {
	cuts   []netip.Addr // ascending; piece i begins at cuts[i-1]
	pieces []mask
	unix   mask
}

func newNetworkTable(rules []*rule) networkTable {
	t := networkTable{unix: newMask(len(rules))}
	for i, r := range rules {
		if r.networks.match(netip.Addr{}) {
			t.unix.set(i)
		}
		for _, p := range r.networks.prefixes {
			t.cuts = append(t.cuts, p.Addr())
			if end, ok := after(p); ok {
				t.cuts = append(t.cuts, end)
			}
		}
	}
	slices.SortFunc(t.cuts, netip.Addr.Compare)
	t.cuts = slices.Compact(t.cuts)
	for piece := range len(t.cuts) + 1 {
		m := newMask(len(rules))
		for i, r := range rules {
			if r.networks.any() || piece > 0 && r.networks.match(t.cuts[piece-1]) {
				m.set(i)
			}
		}
		t.pieces = append(t.pieces, m)
	}
	return t
}

// after returns the first address beyond p in the order of netip.Addr.Compare, in which IPv6 follows IPv4.
func after(p netip.Prefix) (netip.Addr, bool) {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	if next := last.Next(); next.IsValid() {
		return next, true
	}
	return netip.IPv6Unspecified(), last.Is4()
}

// piece returns the number of the piece that holds addr; -1 is unix sockets.
func (t *networkTable) piece(addr netip.Addr) int {
	if !addr.IsValid() {
		return -1
	}
	i, found := slices.BinarySearchFunc(t.cuts, plainAddr(addr), netip.Addr.Compare)
	if found {
		i++
	}
	return i
}

func (t *networkTable) mask(piece int) mask {
	if piece < 0 {
		return t.unix
	}
	return t.pieces[piece]
}
