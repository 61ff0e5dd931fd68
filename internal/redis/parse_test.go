package redis

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nodesText = `07c37dfeb235213a872192d90877d0cd55635b91 198.18.0.101:7101@17101,data-1 myself,master - 0 1426238316232 3 connected 0-5460 8000 [93-<-292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f]
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 198.18.0.102:7101@17101 slave 07c37dfeb235213a872192d90877d0cd55635b91 0 1426238316232 3 connected
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f :0@0 master,fail,noaddr - 1426238316232 1426238316232 2 disconnected 5461-10922
6ec23923021cf3ffec47632106199cb7f496ce01 198.18.0.103:7103@17103 master,fail? - 0 0 0 connected
824fe116063bc5fcf9f4ffd895bc17aee7731ac3 198.18.0.104:7101@17101 handshake - 0 0 0 disconnected
`

func TestParseNodes(t *testing.T) {
	t.Parallel()
	got, err := parseNodes(nodesText)
	if err != nil {
		t.Fatal(err)
	}
	want := []node{
		{id: "07c37dfeb235213a872192d90877d0cd55635b91", address: "198.18.0.101:7101", self: true, primary: true, epoch: 3, slots: []slotRange{{0, 5460}, {8000, 8000}}},
		{id: "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1", address: "198.18.0.102:7101", primaryID: "07c37dfeb235213a872192d90877d0cd55635b91", epoch: 3},
		{id: "292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f", primary: true, failing: true, failed: true, unlinked: true, epoch: 2, slots: []slotRange{{5461, 10922}}},
		{id: "6ec23923021cf3ffec47632106199cb7f496ce01", address: "198.18.0.103:7103", primary: true, failing: true},
		{id: "824fe116063bc5fcf9f4ffd895bc17aee7731ac3", address: "198.18.0.104:7101", handshake: true, unlinked: true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(node{}, slotRange{})); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestParseNodesErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":          "parse CLUSTER NODES: no line of 0 is the member's own",
		"id addr\n": `parse CLUSTER NODES line "id addr": 2 fields, want at least 8`,
		"id a:1@1 myself,master - 0 0 x connected":         `parse CLUSTER NODES line "id a:1@1 myself,master - 0 0 x connected": config epoch "x" is no number`,
		"id a:1@1 myself,master - 0 0 1 connected 1-16384": `parse CLUSTER NODES line "id a:1@1 myself,master - 0 0 1 connected 1-16384": "1-16384" is no slot or range of slots`,
		"id a:1@1 master - 0 0 1 connected":                "parse CLUSTER NODES: no line of 1 is the member's own",
	} {
		if _, err := parseNodes(text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add(nodesText)
	f.Fuzz(func(t *testing.T, text string) {
		nodes, err := parseNodes(text)
		if err != nil {
			return
		}
		for _, n := range nodes {
			for _, r := range n.slots {
				if r.first < 0 || r.first > r.last || r.last >= slotCount {
					t.Errorf("%q has range %v", text, r)
				}
			}
		}
		owners(nodes)
	})
}

func FuzzReadReply(f *testing.F) {
	for _, text := range []string{"+OK\r\n", ":42\r\n", "-NOPERM no\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*1\r\n", "$9999999999\r\n", "\r\n", "$3\r\nhello\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		reply, err := readReply(bufio.NewReader(strings.NewReader(text)))
		if err == nil && !strings.Contains(text, reply+"\r\n") {
			t.Errorf("%q became %q", text, reply)
		}
	})
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"+OK\r\n":            {"OK", ""},
		":42\r\n":            {"42", ""},
		"$5\r\nhello\r\n":    {"hello", ""},
		"$0\r\n\r\n":         {"", ""},
		"-LOADING it is\r\n": {"", "LOADING it is"},
		"$-1\r\n":            {"", `reply of size "-1"`},
		"$17000000\r\n":      {"", `reply of size "17000000"`},
		"*1\r\n":             {"", `reply of unexpected kind '*'`},
		"HTTP/1.1 400 no\n":  {"", `reply "HTTP/1.1 400 no\n" is not RESP`},
		"$5\r\nhel":          {"", "reply of 5 bytes ends early"},
		"+OK":                {"", "read reply: EOF"},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(text)))
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != want[0] || message != want[1] {
			t.Errorf("%q: %q, %q, want %q", text, got, message, want)
		}
	}
}
