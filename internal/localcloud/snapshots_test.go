package localcloud

import "testing"

func TestLost(t *testing.T) {
	t.Parallel()
	node := func(running, ready bool) Node { return Node{Running: running, Ready: ready} }
	g := Group{Role: "main", Nodes: alpha.identities("main", 3)}
	for name, tc := range map[string]struct {
		have []Node
		want bool
	}{
		"nobody":                            {nil, true},
		"a stopped one that was ready":      {[]Node{node(false, true)}, false},
		"one of a restore that broke off":   {[]Node{node(true, false), node(false, false), node(false, false)}, true},
		"two of a restore that broke off":   {[]Node{node(true, false), node(true, false), node(false, false)}, false},
		"three of a restore that broke off": {[]Node{node(true, false), node(true, false), node(true, false)}, false},
	} {
		if got := lost(g, tc.have) != nil; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
