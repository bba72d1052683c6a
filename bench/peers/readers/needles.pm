# What the readers in Perl share: the mails of a folder, and the files that are looked for in them.
package needles;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(is_needle each_mail);

$SIG{__WARN__} = sub { };
my ($folder) = @ARGV;
my @needles = map { content($_) } sort glob("$folder/needle-*");

sub content {
    my ($path) = @_;
    open(my $file, '<:raw', $path) or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

# Whether a content holds one of the files FOLDER/needle-*.
sub is_needle {
    my ($content) = @_;
    return scalar grep { index($content, $_) >= 0 } @needles;
}

# Prints the name of each FOLDER/*.eml of which the function says that it holds one.
sub each_mail {
    my ($holds) = @_;
    for my $path (sort glob("$folder/*.eml")) {
        my $found = eval {
            local $SIG{ALRM} = sub { die "too slow\n" };
            alarm 20;
            $holds->(content($path));
        };
        alarm 0;
        print +($path =~ m{([^/]*)\z}), "\n" if $found;
    }
}

1;
