#!/usr/bin/perl
# What Perl's MIME-tools makes of mails, as amavisd-new uses it: mime_tools.pl FOLDER
# Prints the name of each FOLDER/*.eml of which a part, decoded, holds one of the files FOLDER/needle-*.
use strict;
use warnings;
use MIME::Parser;

$SIG{__WARN__} = sub { };
my ($folder) = @ARGV;
my @needles = map { content($_) } sort glob("$folder/needle-*");

sub content {
    my ($path) = @_;
    open(my $file, '<:raw', $path) or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub holds {
    my ($entity) = @_;
    my $body = $entity->bodyhandle;
    if ($body) {
        my $content = $body->as_string;
        return 1 if grep { index($content, $_) >= 0 } @needles;
    }
    return scalar grep { holds($_) } $entity->parts;
}

for my $path (sort glob("$folder/*.eml")) {
    my $found = eval {
        local $SIG{ALRM} = sub { die "too slow\n" };
        alarm 20;
        my $parser = MIME::Parser->new;
        $parser->output_to_core(1);
        $parser->tmp_to_core(1);
        $parser->extract_nested_messages('NEST');
        $parser->extract_uuencode(1);
        holds($parser->parse_data(content($path)));
    };
    alarm 0;
    print +($path =~ m{([^/]*)\z}), "\n" if $found;
}
