package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	// Contenders take turns until the ratio is known well enough: by how much turns differ, and never by what they say.
	minTurns = 6
	maxTurns = 30
	maxError = 0.02 // standard error of the ratio
	minRate  = 0.95

	minimalPort = 7011
	minimalName = "bench-haproxy"
)

// loads are all that is put on Redis.
var loads = []load{
	{"SET", 1, 1}, {"GET", 1, 1}, {"SET", 1, 16}, {"GET", 1, 16},
	{"SET", 50, 1}, {"GET", 50, 1}, {"SET", 50, 16}, {"GET", 50, 16},
}

// rival is a way to Redis that ours is compared with.
type rival struct {
	name  string
	least float64 // ratio of ours to it; 0: nothing is promised
	run   func(load) (rate, error)
}

// throughput measures what clients get through the virtual IP and the load balancer.
func (b *bench) throughput() (section, error) {
	s := section{
		title: "Throughput and latency",
		text: fmt.Sprintf("Commands per second, and the 99th percentile of a round trip, which a pipeline of 16 is one of. Values have %d bytes. A cluster-aware client\n"+
			"(go-redis) that is told the virtual IP alone is compared with one that is told a primary. Plain clients through our HAProxy are compared\n"+
			"with the same through a minimal hand-written one, in a container of the same image on the same node, and without a proxy:\n"+
			"a hop costs, and nothing is promised of that. They take turns of %s, after %s that do not count; a ratio is that of all commands, with its\n"+
			"standard error, and there are %d turns or more, until that is %.3g or the turns are %d.", valueSize, loadTime, warmTime, minTurns, maxError, maxTurns),
		head: []string{"clients", "against", "command", "number", "pipeline", "turns", "ours", "p99", "theirs", "p99", "ratio", "bound", ""},
	}
	if err := b.stand(); err != nil {
		return s, err
	}
	st, err := b.status()
	if err != nil {
		return s, err
	}
	a, err := b.access()
	if err != nil {
		return s, err
	}
	var primaries []string
	for _, shard := range st.Redis.Shards {
		primaries = append(primaries, shard.Primary.Address)
	}
	if err := b.startMinimal(st.Endpoint.Holder, primaries); err != nil {
		return s, err
	}
	cluster := func(address string) func(load) (rate, error) {
		return func(l load) (rate, error) { return l.cluster(b.ctx, a, address) }
	}
	plain := func(addresses ...string) func(load) (rate, error) {
		return func(l load) (rate, error) { return l.plain(b.ctx, a, addresses...) }
	}
	for _, l := range loads {
		rows, err := contest("cluster-aware", l, cluster(a.endpoint()), rival{"from a primary", minRate, cluster(primaries[0])})
		if err != nil {
			return s, err
		}
		s.rows = append(s.rows, rows...)
	}
	for _, l := range loads {
		rows, err := contest("plain", l, plain(a.endpoint()),
			rival{"minimal HAProxy", minRate, plain(fmt.Sprintf("%s:%d", a.Address, minimalPort))}, rival{"no proxy", 0, plain(primaries...)})
		if err != nil {
			return s, err
		}
		s.rows = append(s.rows, rows...)
	}
	return s, b.stopMinimal(st.Endpoint.Holder)
}

// contest lets our way and its rivals take turns, and returns a row for each rival. How many there are depends on the first, of which
// something is promised; a rival that nothing is promised of takes the first few only.
func contest(clients string, l load, ours func(load) (rate, error), rivals ...rival) ([][]string, error) {
	progress("%s clients: %s, %d at a time, pipeline %d", clients, l.op, l.clients, l.pipeline)
	measured := make([][]rate, len(rivals)+1)
	for turn := 0; turn < minTurns || turn < maxTurns && !known(measured[0], measured[1]); turn++ {
		contenders := []func(load) (rate, error){ours}
		for _, r := range rivals {
			if r.least > 0 || turn < minTurns {
				contenders = append(contenders, r.run)
			}
		}
		for _, i := range rand.Perm(len(contenders)) { // nobody always comes after the same one
			m, err := contenders[i](l)
			if err != nil {
				return nil, err
			}
			measured[i] = append(measured[i], m)
		}
	}
	var rows [][]string
	for i, r := range rivals {
		our, p99 := split(measured[0][:len(measured[i+1])])
		their, theirP99 := split(measured[i+1])
		ratio, deviation := quotient(our, their)
		row := []string{clients, r.name, l.op, strconv.Itoa(l.clients), strconv.Itoa(l.pipeline), strconv.Itoa(len(our)),
			fmt.Sprintf("%.0f/s", mean(our)), milliseconds(median(p99)), fmt.Sprintf("%.0f/s", mean(their)), milliseconds(median(theirP99)),
			fmt.Sprintf("%.2f ± %.2f", ratio, deviation)}
		bound := unbounded()
		if r.least > 0 {
			bound = atLeast(ratio, r.least)
		}
		rows = append(rows, append(row, bound...))
	}
	return rows, nil
}

// known tells whether there are turns enough to say how two rates compare.
func known(ours, theirs []rate) bool {
	our, _ := split(ours)
	their, _ := split(theirs)
	_, deviation := quotient(our, their)
	return deviation <= maxError
}

// quotient is the ratio of the sums of two rates that were measured in turns, and its standard error.
func quotient(a, b []float64) (ratio, deviation float64) {
	ratio = mean(a) / mean(b)
	var squares float64
	for i := range a {
		residual := a[i] - ratio*b[i]
		squares += residual * residual
	}
	n := float64(len(a))
	return ratio, math.Sqrt(squares/(n*(n-1))) / mean(b)
}

func split(rates []rate) (perSecond []float64, p99 []time.Duration) {
	for _, r := range rates {
		perSecond, p99 = append(perSecond, r.perSecond), append(p99, r.p99)
	}
	return perSecond, p99
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

// minimalConfig is what somebody would write who knows where the primaries are.
const minimalConfig = `defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h

listen redis
    bind :%d
    balance roundrobin
`

// startMinimal starts another HAProxy on the node that holds the address, in the way ours runs there.
func (b *bench) startMinimal(node string, primaries []string) error {
	config := fmt.Sprintf(minimalConfig, minimalPort)
	for i, address := range primaries {
		config += fmt.Sprintf("    server primary%d %s check\n", i+1, address)
	}
	_, err := b.onNode(node, fmt.Sprintf(`set -e
. /run/devctl/platform.env
printf %%s '%s' >/run/%[2]s.cfg
podman run --detach --rm --replace --name %[2]s --cgroups "$PODMAN_CGROUPS" --network host --ulimit host --log-driver none \
	--volume /run/%[2]s.cfg:/haproxy.cfg:ro %[3]s -f /haproxy.cfg`, config, minimalName, b.images.Deployed().HAProxy))
	return err
}

func (b *bench) stopMinimal(node string) error {
	_, err := b.onNode(node, "podman stop --time 1 "+minimalName)
	return err
}
