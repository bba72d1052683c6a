#!/usr/bin/perl
# What Perl's Email::MIME makes of mails: email_mime.pl FOLDER
# Prints the name of each FOLDER/*.eml of which a part, decoded, holds one of the files FOLDER/needle-*.
use strict;
use warnings;
use Email::MIME;

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
    my ($entity, $depth) = @_;
    my $content = eval { $entity->body };
    if (defined $content) {
        return 1 if grep { index($content, $_) >= 0 } @needles;
        # It leaves messages inside to its user.
        my $type = eval { $entity->content_type } // '';
        if ($depth < 30 && $type =~ m{^message/rfc822}i) {
            my $inner = eval { Email::MIME->new($content) };
            return 1 if $inner && holds($inner, $depth + 1);
        }
    }
    return scalar grep { $_ != $entity && holds($_, $depth + 1) } $entity->subparts;
}

for my $path (sort glob("$folder/*.eml")) {
    my $found = eval {
        local $SIG{ALRM} = sub { die "too slow\n" };
        alarm 20;
        holds(Email::MIME->new(content($path)), 0);
    };
    alarm 0;
    print +($path =~ m{([^/]*)\z}), "\n" if $found;
}
