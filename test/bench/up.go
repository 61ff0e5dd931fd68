package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

const (
	upTurns   = 5
	sizeTurns = 3

	maxUp = 1.5
	// maxGrowth is how much the ratio of a larger stack may be above that of the smallest: less is noise.
	maxGrowth = 1.1
)

// size is how many nodes of each role there are, and how many shards of one primary and one replica each.
type size struct{ mains, workers, data, shards int }

func (s size) nodes() int { return s.mains + s.workers + s.data }

var (
	shipped = size{3, 2, 3, 3}
	larger  = []size{{3, 5, 8, 4}, {3, 13, 16, 8}}
)

// up measures the shipped stack.
func (b *bench) up() (section, error) {
	s := section{
		title: "`devctl up` against the bare script",
		text: fmt.Sprintf("From nothing to healthy, with images that are there. The bare script (`test/bench/bare-up.sh`) starts as many containers of the\n"+
			"same images with systemd in them, and Redis in those, and lets `redis-cli` make a cluster: no Ignition, certificates, etcd, load\n"+
			"balancer or state. %d turns.", upTurns),
		head: upHead,
	}
	if err := b.fromNothing(); err != nil {
		return s, err
	}
	ratio, row, err := b.upAgainstBare(shipped, upTurns)
	s.rows = [][]string{append(row, atMost(ratio, maxUp)...)}
	return s, err
}

// sizes measures stacks that are larger and larger.
func (b *bench) sizes() (section, error) {
	s := section{
		title: "`devctl up` of larger stacks",
		text: fmt.Sprintf("The same, %d turns for each number of nodes. The ratio must not grow; up to %g times that of %d nodes counts as noise.",
			sizeTurns, maxGrowth, shipped.nodes()),
		head: upHead,
	}
	if err := b.fromNothing(); err != nil {
		return s, err
	}
	first, row, err := b.upAgainstBare(shipped, sizeTurns)
	if err != nil {
		return s, err
	}
	s.rows = [][]string{append(row, unbounded()...)}
	for _, n := range larger {
		ratio, row, err := b.upAgainstBare(n, sizeTurns)
		if err != nil {
			return s, err
		}
		s.rows = append(s.rows, append(row, atMost(ratio, first*maxGrowth)...))
	}
	return s, nil
}

var upHead = []string{"nodes", "devctl up", "bare script", "ratio", "bound", ""}

// upAgainstBare returns the ratio, and the first cells of its row.
func (b *bench) upAgainstBare(n size, count int) (ratio float64, row []string, err error) {
	err = b.spec("count: 3                 # Redis", fmt.Sprint("count: ", n.data), "min: 2 ", fmt.Sprintf("min: %d ", n.workers),
		"max: 2", fmt.Sprint("max: ", n.workers), "shards: 3", fmt.Sprint("shards: ", n.shards))
	if err != nil {
		return 0, nil, err
	}
	ours := func() (time.Duration, error) {
		took, err := timed(func() error { _, err := b.devctl("up", "--yes"); return err })()
		if err != nil {
			return 0, err
		}
		progress("devctl up, %d nodes: %s", n.nodes(), seconds(took))
		return took, b.destroy()
	}
	bare := func() (time.Duration, error) {
		took, err := timed(func() error { return b.bareUp(n) })()
		if err != nil {
			return 0, err
		}
		progress("bare script, %d nodes: %s", n.nodes(), seconds(took))
		return took, b.bareDown()
	}
	all, err := turns(count, ours, bare)
	if err != nil {
		return 0, nil, err
	}
	each := ratios(all[0], all[1])
	return median(each), []string{strconv.Itoa(n.nodes()), seconds(median(all[0])), seconds(median(all[1])), spread(each)}, b.spec()
}

func (b *bench) bareUp(n size) error {
	return b.bareScript("up", b.images.Node.Ref, b.images.Store, b.images.Deployed().Redis, barePrefix,
		strconv.Itoa(n.mains), strconv.Itoa(n.workers), strconv.Itoa(n.data), strconv.Itoa(n.shards))
}

func (b *bench) bareDown() error { return b.bareScript("down") }

func (b *bench) bareScript(args ...string) error {
	script, err := filepath.Abs("test/bench/bare-up.sh")
	if err != nil {
		return err
	}
	_, err = b.command(script, args...)
	return err
}
