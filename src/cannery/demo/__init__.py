"""The whole line at work on real data: 7,043 telephone customers, some of whom leave."""
